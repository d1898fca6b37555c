"""Apache Airflow provider that runs work on any cloud through SkyPilot, one Kubernetes pod for each action."""

__version__ = "0.1.0"
