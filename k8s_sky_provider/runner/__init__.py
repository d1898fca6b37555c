"""The half that runs in the pod: it takes a request, runs one SkyPilot action, reports a result. No Airflow here."""
