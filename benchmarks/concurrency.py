"""Many pods at once on one state: ours on a volume and in a PostgreSQL, SkyPilot's command line on a volume."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

from local_airflow import Kubectl
from local_pods import pod_of, postgres, run_together, settings, volume

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyStatusOperator,
)

if TYPE_CHECKING:
    from k8s_sky_provider.operators import SkyBaseOperator

AT_ONCE = (1, 4, 16, 32)
AT_ONCE_CLI = (1, 4)
"""The command line starts a server of two gigabytes in each pod."""

SECONDS = 1200
SECONDS_CLI = 300
"""When the command line counts as hung: alone it takes less than one."""

CLI_COMMAND = ["tini", "--", "sh", "-c", 'rmdir ~/.sky/api_server 2>/dev/null; exec "$@"', "--"]
"""Ours leave a directory that is root's where they mount one of their own: the command line must make its own there."""

CLUSTER = "bench-concurrency"
SMALL = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Some pods with one action, all made at once.

    :param who: whose action, and where the state is
    :param action: ``status`` or ``exec``
    :param at_once: how many pods
    :param seconds: until the last one ended
    :param hung: how many had not ended by then
    :param failed: how many ended otherwise than well
    """

    who: str
    action: str
    at_once: int
    seconds: float
    hung: int
    failed: int

    @property
    def text(self) -> str:
        """The time, and what went wrong."""
        if self.hung:
            return f"{self.hung} of {self.at_once} hung after {self.seconds:.0f} s"
        return f"{self.seconds:.0f} s" + (f", {self.failed} failed" if self.failed else "")


def measure() -> list[Measured]:
    """Run ours in both modes and then the command line, on a cluster of their own; wall times."""
    kubectl = Kubectl()
    with volume(kubectl, CLUSTER) as claim, settings(kubectl):
        with_volume = {"volume_claim": claim, "deployment": CLUSTER}
        measured = _with_cluster(kubectl, "ours, volume", with_volume, cli=True)
    options = {"state_mode": "database", "volume_claim": None}
    with postgres(kubectl) as secret, settings(kubectl, **options, database_secret=secret):
        measured += _with_cluster(kubectl, "ours, PostgreSQL", {"deployment": CLUSTER}, cli=False)
    return measured


def show(measured: list[Measured]) -> None:
    """Print what was measured, side by side."""
    columns = list(dict.fromkeys(one.who for one in measured))
    print(f"\n{'wall time of pods made at once':32}", *(f"{who:>28}" for who in columns))
    for action, at_once in dict.fromkeys((one.action, one.at_once) for one in measured):
        cells = {one.who: one.text for one in measured if (one.action, one.at_once) == (action, at_once)}
        print(f"{f'{at_once} x {action}':32}", *(f"{cells.get(who, 'not run'):>28}" for who in columns))
    print(
        f"The command line has all of ~/.sky on the volume, as in SkyPilot's example for Airflow; it is run for "
        f"{' and '.join(map(str, AT_ONCE_CLI))} at once only, and counts as hung after {SECONDS_CLI} s."
    )


def are_ours_well(measured: list[Measured]) -> bool:
    """Tell whether all pods of ours ended well."""
    return not any(one.hung or one.failed for one in measured if one.who.startswith("ours"))


def _with_cluster(kubectl: Kubectl, who: str, arguments: dict[str, Any], *, cli: bool) -> list[Measured]:
    task = {"run": "true", "resources": SMALL}
    _one(kubectl, SkyLaunchOperator, arguments, cluster_name=CLUSTER, sky_task_yaml=task, auto_down=False)
    measured = []
    try:
        for action, operator in (
            ("status", (SkyStatusOperator, {})),
            ("exec", (SkyExecOperator, {"cluster_name": CLUSTER, "sky_task_yaml": {"run": "true"}})),
        ):
            for at_once in AT_ONCE:
                pods = [_pod(operator[0], f"{at_once}-{n}", arguments, **operator[1]) for n in range(at_once)]
                measured.append(_measure(kubectl, who, action, pods, SECONDS))
            for at_once in AT_ONCE_CLI if cli else ():
                command = ["sky", "status"] if action == "status" else ["sky", "exec", CLUSTER, "true"]
                pods = [_of_cli(_pod(SkyStatusOperator, f"{at_once}-{n}", arguments), command) for n in range(at_once)]
                measured.append(_measure(kubectl, "sky, volume", action, pods, SECONDS_CLI))
    finally:
        _one(kubectl, SkyDownOperator, arguments, cluster_name=CLUSTER)
    return measured


def _measure(kubectl: Kubectl, who: str, action: str, pods: list[dict[str, Any]], seconds: float) -> Measured:
    print(f"{len(pods)} x {action}, {who}", flush=True)
    ended = run_together(kubectl, pods, seconds).values()
    for pod in [pod for pod in ended if pod.exit_code][:1]:
        print(pod.end)
    kubectl("wait", "--for=delete", *(f"pod/{pod['metadata']['name']}" for pod in pods), "--timeout=120s")
    measured = Measured(
        who=who,
        action=action,
        at_once=len(pods),
        seconds=max(pod.seconds for pod in ended),
        hung=sum(pod.exit_code is None for pod in ended),
        failed=sum(pod.exit_code not in {0, None} for pod in ended),
    )
    print(f"  {measured.text}", flush=True)
    return measured


def _one(kubectl: Kubectl, operator: type[SkyBaseOperator], state: dict[str, Any], **arguments: Any) -> None:
    (ended,) = run_together(kubectl, [_pod(operator, "one", state, **arguments)], SECONDS).values()
    if ended.exit_code != 0:
        raise RuntimeError(f"{operator.__name__} {ended.end}")


def _pod(operator: type[SkyBaseOperator], name: str, state: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    made = operator(task_id=name, kubernetes_conn_id=None, **state, **arguments)
    return pod_of(made, f"bench-{operator.action}-{name}".replace("_", "-"))


def _of_cli(pod: dict[str, Any], command: list[str]) -> dict[str, Any]:
    """Return the pod with a command of SkyPilot's command line, which cannot do without its own server."""
    pod = copy.deepcopy(pod)
    container = pod["spec"]["containers"][0]
    container["command"], container["args"] = CLI_COMMAND, command
    for variable in container["env"]:
        if variable["name"] == "SKYPILOT_DISABLE_LOCAL_API_SERVER":
            variable["value"] = "0"
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "sky-api-server"]
    return pod
