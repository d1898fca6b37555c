"""Python functions on one cluster, which goes although one of them fails."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from k8s_sky_provider.decorators import sky_cluster

WHEEL = "/tmp/e2e_greeting-1.0-py3-none-any.whl"  # noqa: S108  # on the test's own cluster

# A package that no index has: the cluster needs no internet for it.
MAKE_WHEEL = f"""\
cat > /tmp/make_wheel.py <<'END'
import zipfile

with zipfile.ZipFile("{WHEEL}", "w") as wheel:
    wheel.writestr("e2e_greeting.py", "def greet(who): return 'hello ' + who")
    wheel.writestr(
        "e2e_greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: e2e-greeting\\nVersion: 1.0\\n"
    )
    wheel.writestr(
        "e2e_greeting-1.0.dist-info/WHEEL",
        "Wheel-Version: 1.0\\nGenerator: e2e\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    )
    wheel.writestr("e2e_greeting-1.0.dist-info/RECORD", "")
END
python3 /tmp/make_wheel.py
"""


def round_trip(given: dict[str, Any], run_id: str | None = None) -> dict[str, Any]:
    """Return what was given, and what the function had of Airflow's context."""
    print("the function runs")
    return {"given": given, "run_id": run_id}


def greet(earlier: Any) -> str:
    """Call the package that was installed for this function."""
    import e2e_greeting  # type: ignore[import-not-found]  # it is on the cluster only

    return str(e2e_greeting.greet(earlier["given"]["text"]))


def fail(part: int) -> None:
    """Raise an error."""
    raise ValueError(f"no data in part {part}")


with (
    DAG(
        dag_id="e2e_python_task",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
    ),
    sky_cluster(
        "shared",
        sky_task_yaml={
            "setup": MAKE_WHEEL,
            "resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"},
        },
        idle_minutes_to_autostop=30,
    ) as cluster,
):
    first = task.sky(cluster_name=cluster)(round_trip)({"numbers": [1, 2.5, None], "text": "Zoë's $HOME"})
    task.sky(cluster_name=cluster, requirements=[WHEEL], deferrable=True)(greet)(first)
    task.sky(cluster_name=cluster, fail_fast=True)(fail)(3)
