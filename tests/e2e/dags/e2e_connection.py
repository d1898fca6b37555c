"""Settings and credentials from Airflow connections, which the tests make."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyBashOperator

with DAG(dag_id="e2e_connection", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    for deferrable in (False, True):
        SkyBashOperator(
            task_id="deferred" if deferrable else "synchronous",
            skypilot_conn_id="e2e_sky",
            bash_command="stat --dereference --format '%a %U' ~/.aws/credentials && cat ~/.aws/credentials && "
            'echo "a variable of $(printf %s "$E2E_FIELD" | wc -c) characters: $E2E_FIELD"',
            deferrable=deferrable,
        )
    SkyBashOperator(task_id="missing", skypilot_conn_id="e2e_no_such_connection", bash_command="true")
