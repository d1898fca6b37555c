"""Volumes of the compiled cluster: a directory of the machine for each claim."""
