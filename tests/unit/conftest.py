"""Keeps the unit tests away from the machine's own Airflow and Kubernetes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import hypothesis

# Airflow reads these when it is first imported.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "KUBECONFIG"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW_CONN_KUBERNETES_DEFAULT"] = '{"conn_type": "kubernetes"}'

# The same cases each time; "fuzz" is what `make test-fuzz` takes.
for _profile, _cases in (("unit", 200), ("fuzz", 10_000)):
    hypothesis.settings.register_profile(
        _profile,
        max_examples=_cases,
        deadline=None,
        derandomize=True,
        database=None,
        # On a busy machine it is slow to make large cases; a folder may serve all cases of a test.
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))
