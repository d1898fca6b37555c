"""The only package that imports ``sky``: it calls SkyPilot in this process, or at an API server (:mod:`.at_server`).

SkyPilot has no official switch for that; what it needs is noted where it is done. A SkyPilot error
becomes an :class:`ActionFailedError` with the exit code of the design, a warning or a spinner does not.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sky import global_user_state, models
from sky.utils import annotations as sky_annotations

from k8s_sky_provider.runner.sky import outputs, rsync, uploads
from k8s_sky_provider.runner.sky.cluster_jobs import ClusterJobs
from k8s_sky_provider.runner.sky.clusters import Clusters
from k8s_sky_provider.runner.sky.errors import explained
from k8s_sky_provider.runner.sky.files import Files
from k8s_sky_provider.runner.sky.in_process import InProcess
from k8s_sky_provider.runner.sky.infra import Infra
from k8s_sky_provider.runner.sky.jobs import ManagedJobs
from k8s_sky_provider.runner.sky.machines import Machines
from k8s_sky_provider.runner.sky.serve import Services
from k8s_sky_provider.runner.sky.storage import Storage
from k8s_sky_provider.runner.sky.tasks import Tasks

if TYPE_CHECKING:
    from k8s_sky_provider.runner.sky.caller import Caller

_MILLISECONDS_TO_WAIT = 60_000

# Here and not in the class, for the client's engine imports this package and makes no engine of this process.
outputs.protect()
rsync.protect()
uploads.protect()


class Engine(ManagedJobs, Services, Tasks, Clusters, ClusterJobs, Files, Machines, Storage, Infra):
    """All of SkyPilot that the actions use; every method raises :class:`ActionFailedError` when SkyPilot fails."""

    call: Caller = InProcess()

    def __init__(self) -> None:
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", _wait_for_others)
        # Otherwise spinners print encoded lines that only SkyPilot's own client understands.
        sky_annotations.is_on_api_server = False
        for handler in logging.getLogger("sky").handlers:
            handler.addFilter(_is_worth_showing)
        # Normally the API server does it; without it core.status() returns no clusters at all.
        with explained():
            global_user_state.add_or_update_user(models.User.get_current_user())


def _wait_for_others(connection: Any, record: object) -> None:
    """Have SQLite wait for other pods longer than its 5 s, which 32 of them on a busy node can take."""
    del record
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {_MILLISECONDS_TO_WAIT}")


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Drop what Kubernetes before 1.24 answers to a deletion of many services; SkyPilot then deletes one by one."""
    return "MethodNotAllowed" not in record.getMessage()
