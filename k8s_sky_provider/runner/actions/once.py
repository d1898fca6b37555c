"""Once and only once: a runner that starts again for a task instance takes up the job that is there already.

A pod can be lost at any time: its node goes, somebody deletes it, Airflow's worker dies. Airflow then tries the task
again, and the next runner must not submit what was submitted. So a job's name ends with a mark of its task instance
and the number of the try, which the cluster's own queue keeps; and how a job ended is noted before ``auto_down`` takes
the cluster, and its queue, away. Managed jobs keep the name that users look for: their ids are noted. A queue takes
SkyPilot seconds to ask, so that a task instance has come to submit its job is noted, too: before that, there is nothing
to be found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions.run import Outcome, masked_value
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import Owner, SkyRequest
    from k8s_sky_provider.runner.actions.run import Run
    from k8s_sky_provider.runner.store import Store

UNSUCCESSFUL = {"FAILED", "FAILED_SETUP", "FAILED_DRIVER", "CANCELLED"}
"""Statuses of jobs that a later try begins anew."""

_CLEARED_IN = "/cleared in "

SECONDS_OF_CLOCKS = 5
"""How far the clocks of a pod and of a controller may be apart."""


def job_suffix(owner: Owner) -> str:
    """Return what the name of a job ends with: the mark of its task instance, and the try that submitted it."""
    return f"{_mark(owner)}-{owner.try_number}"


def may_have_submitted(run: Run) -> bool:
    """Tell whether an earlier runner of this task instance can have submitted its job; note that this one will."""
    owner = run.request.owner
    if owner.try_number > 1 or not run.store.outlives_the_pod or run.store.read_note("started", _mark(owner)):
        return True
    run.store.note("started", _mark(owner), {"task_instance": list(owner.task_instance), "at": int(time.time())})
    # Here, because it is first tries that add to the notes.
    state.forget(run.store, unless=run.engine.cluster_exists)
    return False


def earlier_job(run: Run, cluster_name: str) -> int | None:
    """Return the job on a cluster that this task instance has already, if it is to be followed.

    That is one that runs or succeeded, and of this very try also one that failed.

    :raises ActionFailedError: if the cluster is up and does not tell
    """
    run.engine.await_submissions(cluster_name)
    if not run.engine.cluster_exists(cluster_name):
        return None
    try:
        jobs = run.engine.cluster_queue(cluster_name, skip_finished=False, all_users=False)
    except ActionFailedError:
        if any(row["status"] == "UP" for row in run.engine.status([cluster_name], refresh=False)):
            raise
        return None
    owner = run.request.owner
    for job in jobs:
        named = re.search(rf"-{_mark(owner)}-(\d{{1,9}})$", job.get("job_name") or "")
        if named:
            is_ours = job["status"] not in UNSUCCESSFUL or int(named[1]) == owner.try_number
            if is_ours:
                print(f"Job {job['job_id']} on cluster {cluster_name} is this task's own; taking it up")
            return int(job["job_id"]) if is_ours else None
    return None


def note_clear(store: Store, owner: Owner) -> None:
    """Note that a task is cleared while it runs: Airflow tells the next try nothing of that, and calls it a retry.

    :param owner: as the request has it
    """
    store.note("cleared", _mark(owner), {"try_number": owner.try_number, "at": int(time.time())})


def since_clear(store: Store, request: SkyRequest) -> SkyRequest:
    """Return a request whose task instance is another one after it was cleared while it ran."""
    noted = store.read_note("cleared", _mark(request.owner))
    if noted is None or noted["try_number"] >= request.owner.try_number:
        return request
    generation = f"{request.owner.generation}{_CLEARED_IN}{noted['try_number']}"
    return dataclasses.replace(request, owner=dataclasses.replace(request.owner, generation=generation))


def was_cleared(owner: Owner) -> bool:
    """Tell whether :func:`since_clear` has made another task instance of it."""
    return _CLEARED_IN in owner.generation


def note_outcome(run: Run, outcome: Outcome) -> None:
    """Note how the job ended, without secrets, for a runner that starts again after its cluster is gone."""
    owner = run.request.owner
    shown = dataclasses.replace(
        outcome,
        return_value=masked_value(outcome.return_value, run.masked, is_of_a_job=outcome.is_of_a_job),
        reason=run.masked(outcome.reason),
    )
    noted = {"try_number": owner.try_number, "job_id": run.job_id, "outcome": dataclasses.asdict(shown)}
    run.store.note("outcomes", _mark(owner), noted)


def earlier_outcome(run: Run) -> Outcome | None:
    """Return how this task instance's job ended if that is noted: a success, or a failure of this very try."""
    noted = run.store.read_note("outcomes", _mark(run.request.owner))
    if noted is None:
        return None
    outcome = Outcome(**{**noted["outcome"], "exit_code": ExitCode(noted["outcome"]["exit_code"])})
    if outcome.exit_code != ExitCode.OK and noted["try_number"] != run.request.owner.try_number:
        return None
    run.job_id = noted["job_id"]
    print(f"Job {run.job_id} of this task has ended already; taking its outcome")
    return outcome


def note_submission(run: Run, job_ids: list[int] | None) -> None:
    """Note that managed jobs are about to be submitted or, with their ids, that they have been.

    :param job_ids: the jobs, None while they have no ids
    """
    noted = {"try_number": run.request.owner.try_number, "at": int(time.time()), "job_ids": job_ids}
    run.store.note("submissions", _mark(run.request.owner), noted)


def earlier_submission(run: Run, job_name: str, wanted: int) -> list[int] | None:
    """Return the managed jobs that this task instance has submitted, if they are to be followed.

    Those are jobs that run or succeeded, and of this very try also ones that failed.

    :param job_name: the jobs' name, by which those are found whose ids were never heard of
    :param wanted: how many there are to be
    :return: their ids, none if they are to be submitted, None if nothing is noted
    """
    noted = run.store.read_note("submissions", _mark(run.request.owner))
    if noted is None:
        return None
    rows = [
        row
        for row in run.engine.managed_jobs(job_ids=noted["job_ids"])
        if noted["job_ids"]
        or (row["job_name"] == job_name and (row["submitted_at"] or noted["at"]) >= noted["at"] - SECONDS_OF_CLOCKS)
    ]
    job_ids = sorted({int(row["job_id"]) for row in rows})[-wanted:]
    statuses = {row["status"] for row in rows if row["job_id"] in job_ids}
    is_this_try = noted["try_number"] == run.request.owner.try_number
    has_failed = any(status.startswith("FAILED") or status in {"CANCELLED", "CANCELLING"} for status in statuses)
    return job_ids if len(job_ids) == wanted and (is_this_try or not has_failed) else []


def _mark(owner: Owner) -> str:
    """Return the mark of a task instance: the same for each of its tries, another one after it was cleared."""
    return hashlib.sha256(json.dumps([*owner.task_instance, owner.generation]).encode()).hexdigest()[:8]
