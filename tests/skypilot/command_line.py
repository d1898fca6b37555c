"""SkyPilot's command line against the operators: what wraps a command, what stands for an option, what is left out."""

from __future__ import annotations

from k8s_sky_provider import operators

OPERATORS: dict[str, type[operators.SkyBaseOperator]] = {
    "launch": operators.SkyLaunchOperator,
    "exec": operators.SkyExecOperator,
    "start": operators.SkyStartOperator,
    "stop": operators.SkyStopOperator,
    "autostop": operators.SkyAutostopOperator,
    "down": operators.SkyDownOperator,
    "status": operators.SkyStatusOperator,
    "cost-report": operators.SkyCostReportOperator,
    "queue": operators.SkyQueueOperator,
    "logs": operators.SkyLogsOperator,
    "cancel": operators.SkyCancelOperator,
    "jobs launch": operators.SkyJobLaunchOperator,
    "jobs queue": operators.SkyJobQueueOperator,
    "jobs logs": operators.SkyJobLogsOperator,
    "jobs cancel": operators.SkyJobCancelOperator,
    "jobs pool apply": operators.SkyPoolApplyOperator,
    "jobs pool status": operators.SkyPoolStatusOperator,
    "jobs pool down": operators.SkyPoolDownOperator,
    "serve up": operators.SkyServeUpOperator,
    "serve update": operators.SkyServeUpdateOperator,
    "serve status": operators.SkyServeStatusOperator,
    "serve logs": operators.SkyServeLogsOperator,
    "serve down": operators.SkyServeDownOperator,
    "volumes apply": operators.SkyVolumeApplyOperator,
    "volumes ls": operators.SkyVolumeListOperator,
    "volumes delete": operators.SkyVolumeDeleteOperator,
    "storage ls": operators.SkyStorageListOperator,
    "storage delete": operators.SkyStorageDeleteOperator,
    "check": operators.SkyCheckOperator,
    "gpus list": operators.SkyGpusOperator,
}
"""A command -> the operator that wraps it."""

ARGUMENTS: dict[str, str] = {
    "<cluster>": "cluster_name",
    "<clusters>": "cluster_name",
    "<entrypoint>": "sky_task_yaml",
    "<jobs>": "job_ids",
    "<pool_yaml>": "sky_task_yaml",
    "<service_yaml>": "sky_task_yaml",
    "--cluster": "cluster_name",
    "--detach-run": "wait",
    "--env": "envs",
    "--name": "job_name",
    "--pool": "pool_name",
    "--ports": "open_ports",
    "--secret": "job_secrets",
    "check <infra_list>": "infra",
    "gpus list <accelerator_str>": "accelerator",
    "jobs queue --status": "statuses",
    "logs <job_ids>": "job_id",
    "serve logs <replica_ids>": "replica",
    "serve logs --controller": "target",
    "serve logs --load-balancer": "target",
    "status <clusters>": "cluster_names",
    "status --endpoint": "endpoints",
    "storage delete --all": "all_storage",
    "volumes apply <entrypoint>": "volume",
    "volumes apply --name": "volume_name",
    "volumes apply --type": "volume_type",
}
"""An option, of any command or of one -> the argument that stands for it, where that has another name."""

_INFRA = "hidden in SkyPilot, which has `--infra` for it: `infra`"
_SERVER = "runs an API server, or logs a person in to one: a deployment names its server"
_REQUESTS = "the requests of an API server are those of its clients; a task cancels its own"
_PERSON = "opens a page in a browser"
_THIS_MACHINE = "sets up the machine that it is called on"
_GLOB = '`cluster_name="*"`'
_OTHERS = "clusters of others are not a task's to change"
_ALL_ROWS = "lists all without it"
_EACH_ROW = "each row of the result has it"
_REFRESH = "always: a controller that was stopped is started"
_NODE_POOLS = "not yet: machines of your own become a Kubernetes, once and not by a DAG's run"

LEFT_OUT: dict[str, str] = {
    "--async": "a task waits for what it asks for",
    "--cloud": _INFRA,
    "--config": "a verb without a task has the deployment's configuration",
    "--output": "the result is JSON",
    "--region": _INFRA,
    "--verbose": "results have every column",
    "--yes": "nobody is there to be asked",
    "--zone": _INFRA,
    "api cancel": _REQUESTS,
    "api info": _SERVER,
    "api login": _SERVER,
    "api logout": _SERVER,
    "api logs": _REQUESTS,
    "api start": _SERVER,
    "api status": _REQUESTS,
    "api stop": _SERVER,
    "autostop --all": _GLOB,
    "autostop --all-users": _OTHERS,
    "check --workspace": "not yet: the workspace is the configuration's",
    "dashboard": _PERSON,
    "debug-dump": "for a report to SkyPilot's maintainers",
    "down --all": _GLOB,
    "down --all-users": _OTHERS,
    "gpus label": "an administrator's, once for a Kubernetes: labels its nodes",
    "gpus list --all": _ALL_ROWS,
    "gpus list --all-regions": "each cloud's cheapest offer is listed",
    "jobs cancel --all-users": "jobs of others are not a task's to cancel",
    "jobs cancel --graceful": "not yet",
    "jobs cancel --graceful-timeout": "not yet",
    "jobs cancel --task": "not yet",
    "jobs dashboard": _PERSON,
    "jobs launch --cluster": "hidden in SkyPilot, which has `--name` for it: `job_name`",
    "jobs launch --job-group": "not yet: the job of another task may have ended when this one attaches to it",
    "jobs launch --job-recovery": "not yet: `resources.job_recovery` in the task",
    "jobs launch --no-job-group": "a pod is in no job group",
    "jobs logs --refresh": _REFRESH,
    "jobs logs --sync-down": "not yet",
    "jobs logs <task>": "not yet",
    "jobs pool logs": "not yet",
    "jobs pool status --all": _ALL_ROWS,
    "jobs queue --after": "not yet",
    "jobs queue --all": _ALL_ROWS,
    "jobs queue --before": "not yet",
    "jobs queue --infra": "not yet",
    "jobs queue --refresh": _REFRESH,
    "jobs queue --since": "not yet",
    "launch --docker": "deprecated in SkyPilot: runs the task on the machine that it is called on",
    "local down": _THIS_MACHINE,
    "local up": _THIS_MACHINE,
    "logs --autostop": "deprecated in SkyPilot, which has `--hook stop` for it",
    "logs --hook": "not yet",
    "logs --status": "the XCom `result` has `job_status`",
    "serve down --replica-id": "not yet",
    "serve logs --sync-down": "not yet",
    "serve status --endpoint": _EACH_ROW,
    "show-gpus": "hidden in SkyPilot, which has `gpus list` for it",
    "ssh down": _NODE_POOLS,
    "ssh up": _NODE_POOLS,
    "start --all": _GLOB,
    "status --show-managed-jobs": "SkyJobQueueOperator",
    "status --show-pools": "SkyPoolStatusOperator",
    "status --show-services": "SkyServeStatusOperator",
    "status-kubernetes": "hidden in SkyPilot: lists pods of all its users, which `kubectl` does",
    "stop --all": _GLOB,
    "stop --all-users": _OTHERS,
    "ui": _PERSON,
    "volumes delete --all": '`names="*"`',
    "workspace info": "shows what a person has chosen for the shell",
    "workspace use": "a choice that lasts beyond the command: `workspace` of a launch",
}
"""A command, an option of one or of any that has it -> why no argument stands for it."""


def argument_of(command: str, option: str) -> str:
    """Return the name of the argument that stands for an option, if any does."""
    own = option.strip("<>").removeprefix("--").replace("-", "_")
    return ARGUMENTS.get(f"{command} {option}", ARGUMENTS.get(option, own))


def tables() -> str:
    """Return the tables of docs/operators.md: each command, and the options without an argument."""
    lines = ["| option of any command | why no argument stands for it |", "| --- | --- |"]
    lines += [f"| `{option}` | {reason} |" for option, reason in LEFT_OUT.items() if option.startswith("--")]
    lines += ["", "| `sky ...` | operator | left out |", "| --- | --- | --- |"]
    for command, operator in OPERATORS.items():
        left_out = {
            option: reason
            for key, reason in LEFT_OUT.items()
            for start, _, option in [key.rpartition(" ")]
            if start == command
        }
        # Options with the same reason stand together.
        reasons = [
            f"{', '.join(f'`{option}`' for option, why in left_out.items() if why == reason)}: {reason}"
            for reason in dict.fromkeys(left_out.values())
        ]
        lines.append(f"| `{command}` | `{operator.__name__}` | {'; '.join(reasons)} |".replace("  ", " "))
    lines += [
        f"| `{key}` | none | {reason} |"
        for key, reason in LEFT_OUT.items()
        if "-" not in key.rpartition(" ")[2][:1] and "<" not in key
    ]
    return "\n".join(lines)
