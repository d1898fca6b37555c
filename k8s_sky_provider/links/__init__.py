"""The buttons that the operators have in Airflow's user interface."""
