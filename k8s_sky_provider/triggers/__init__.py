"""What watches a deferred task's pod, in the triggerer."""
