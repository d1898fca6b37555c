"""A SkyPilot in memory: the one thing that the runner's tests fake.

:class:`FakeEngine` is a ``k8s_sky_provider.runner.sky.Engine`` to mypy, with one module for each group of it.

* :meth:`FakeEngine.fail` names a method whose next calls raise.
* :attr:`FakeEngine.told_to_stop_in` names a method: SIGTERM arrives when it is under way.
* :attr:`FakeEngine.calls` has what was done, in order, as text: ``down sky-demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unit.k8s_sky_provider.fake_engine.cluster_jobs import FakeClusterJobs
from unit.k8s_sky_provider.fake_engine.clusters import JOB_ID, FakeClusters
from unit.k8s_sky_provider.fake_engine.files import FakeFiles
from unit.k8s_sky_provider.fake_engine.infra import FakeInfra
from unit.k8s_sky_provider.fake_engine.jobs import FakeManagedJobs
from unit.k8s_sky_provider.fake_engine.machines import FakeMachines
from unit.k8s_sky_provider.fake_engine.serve import FakeServices
from unit.k8s_sky_provider.fake_engine.storage import FakeStorage

if TYPE_CHECKING:
    from k8s_sky_provider.runner.sky import Engine
else:
    # It needs SkyPilot, which is only in the sky image.
    Engine = object

__all__ = ["JOB_ID", "FakeEngine"]


class FakeEngine(
    FakeClusters,
    FakeClusterJobs,
    FakeMachines,
    FakeStorage,
    FakeInfra,
    FakeFiles,
    FakeManagedJobs,
    FakeServices,
    Engine,
):
    """See the top of this file."""
