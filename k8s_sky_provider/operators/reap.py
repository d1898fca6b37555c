"""Operator that takes down what runs have left behind."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for
from k8s_sky_provider.operators.earlier_pods import has_ended, kill, owner_of
from k8s_sky_provider.operators.task_states import states_of
from k8s_sky_provider.protocol import OWNER_KEYS, Owner
from k8s_sky_provider.workspace import DEPLOYMENT_LABEL

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg
    from kubernetes.client import models as k8s

ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})
"""States of a task instance that nobody tries again."""

_RUN_ENDED = ["success", "failed"]


class SkyReapOperator(SkyBaseOperator):
    """Take down the clusters whose DAG run is over. Returns the list of their names.

    A cluster can outlive its run: a pod is lost before ``auto_down``, a launch dies half-way, a DAG forgets its
    teardown. Its autostop is the net for that; this operator does not wait so long, and finds clusters that have none
    yet. Wraps ``sky.down``. A run is over when Airflow has none of its id that is queued or running. A cluster that
    was launched under a name of its own is somebody's on purpose and stays, unless ``named`` says otherwise or it is
    only half made: a launch that died left it, without an autostop. One that no operator of this deployment launched
    always stays.

    Where two Airflows share a state, give each another ``deployment``: neither knows the other's runs. Where they must
    share that, too, ``known_runs_only=True`` leaves clusters of runs that this Airflow does not have. It cannot tell
    runs apart that have the same id in both, as scheduled runs of the same DAG do.

    Before that it ends the pods of this deployment whose task has ended without them: a task that is marked failed or
    success between two tries, or whose DAG run times out then, reaches no pod. Each ends by its ``on_cancel``.

    :param clusters: what ``SkyStatusOperator(owners=True)`` returned (templated)
    :param named: take clusters with a ``cluster_name`` of their own down, too (templated)
    :param known_runs_only: leave clusters whose run this Airflow does not have: another one may have it, or it is
        deleted here (templated)
    :param dryrun: only show which would be taken down (templated)
    """

    action: ClassVar[str] = "reap"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "clusters",
        "named",
        "known_runs_only",
        "dryrun",
    )

    def __init__(
        self,
        *,
        clusters: Sequence[Mapping[str, Any]] | XComArg,
        named: bool | str | XComArg = False,
        known_runs_only: bool | str | XComArg = False,
        dryrun: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clusters = clusters
        self.named = named
        self.known_runs_only = known_runs_only
        self.dryrun = dryrun
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"clusters": _rows, **dict.fromkeys(("named", "known_runs_only", "dryrun"), read.flag)}

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """End the pods of tasks that have ended, then make the one that takes the clusters down."""
        try:
            self._end_pods(pod_request_obj.metadata.namespace, context)
        except (ApiException, HTTPError) as error:
            self.log.warning("The pods of tasks that have ended are left: %s", error)
        return super().get_or_create_pod(pod_request_obj, context)

    def _end_pods(self, namespace: str, context: Context) -> None:
        deployment = self.settings.deployment
        pods = self.client.list_namespaced_pod(
            namespace=namespace, label_selector=f"{DEPLOYMENT_LABEL}={deployment},kubernetes_pod_operator=True"
        ).items
        for pod in pods:
            owner = owner_of(pod)
            if (
                owner is None
                or pod.metadata.deletion_timestamp
                or has_ended(pod, self.base_container_name)
                or not _is_task_over(context["ti"], owner)
            ):
                continue
            self.log.info("Pod %s: its task has ended without it: %s", pod.metadata.name, json.dumps(owner))
            if not read.flag("dryrun", self.dryrun):
                kill(self.client, pod)

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``reap``: each cluster's name and the run that it is of."""
        values = self.read_arguments(context)
        rows = values["clusters"]
        self.settings.check_keeps_notes("clusters")
        deployment = self.settings.deployment
        owned = {row["name"]: {key: row[key] for key in OWNER_KEYS} for row in rows if "run_id" in row}
        if rows and not owned:
            self.log.info("No cluster has an owner; was the status asked for owners=True?")
        half_made = [row["name"] for row in rows if row.get("status") == "INIT" and row.get("autostop") is None]
        candidates = {
            name: owner
            for name, owner in owned.items()
            if values["named"] or name in half_made or name == cluster_name_for(Owner(deployment=deployment, **owner))
        }
        # Two answers about one run may differ: each run is asked about once.
        is_over = {
            run: context is None or _is_over(context["ti"], *run, must_be_known=values["known_runs_only"])
            for run in set(map(_run_of, candidates.values()))
        }
        return {
            "clusters": {name: owner for name, owner in candidates.items() if is_over[_run_of(owner)]},
            "half_made": half_made,
            "dryrun": values["dryrun"],
        }


def _rows(name: str, value: object) -> list[Mapping[str, Any]]:
    """Read the rows of a status."""
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not all(isinstance(row, Mapping) and "name" in row for row in value)
    ):
        raise SkyRequestError(f"{name}: must be what SkyStatusOperator(owners=True) returned, not {read.shown(value)}")
    for row in value:
        read.cluster(name, row["name"])
    return list(value)


def _is_task_over(ti: Any, owner: dict[str, Any]) -> bool:
    """Tell whether a task instance has ended; one that Airflow does not have may be of another Airflow."""
    states = states_of(ti, **owner)
    return bool(states) and all(state in ENDED for state in states)


def _run_of(owner: Mapping[str, Any]) -> tuple[str, str]:
    return owner["dag_id"], owner["run_id"]


def _is_over(ti: Any, dag_id: str, run_id: str, *, must_be_known: bool) -> bool:
    """Tell whether a run is over; one that Airflow does not have is, unless it must be known."""
    alive = ["queued", "running"]
    if hasattr(ti, "get_dr_count"):
        count = functools.partial(ti.get_dr_count, dag_id=dag_id, run_ids=[run_id])
        return bool(count(states=alive) == 0 and (not must_be_known or count(states=_RUN_ENDED) > 0))
    # Airflow 2 has no such method; there a task may read the database.
    from airflow.models.dagrun import DagRun  # noqa: PLC0415  # not for tasks of Airflow 3

    runs = DagRun.find(dag_id=dag_id, run_id=run_id)
    return not any(run.state in alive for run in runs) and (bool(runs) or not must_be_known)
