"""What the provider's tests use of Airflow's own tests, which PyPI has only in part and too old."""
