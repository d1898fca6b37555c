"""A SkyPilot in memory: the one thing that the runner's tests fake.

:class:`FakeEngine` implements ``k8s_sky_provider.runner.engine_interface.Engine``, one module for each group of it.

* :meth:`FakeEngine.fail` names a method whose next calls raise.
* :attr:`FakeEngine.told_to_stop_in` names a method: SIGTERM arrives when it is under way.
* :attr:`FakeEngine.calls` has what was done, in order, as text: ``down sky-demo``.
"""

from __future__ import annotations

from unit.k8s_sky_provider.fake_engine.cluster_jobs import FakeClusterJobs
from unit.k8s_sky_provider.fake_engine.clusters import JOB_ID, FakeClusters
from unit.k8s_sky_provider.fake_engine.files import FakeFiles
from unit.k8s_sky_provider.fake_engine.infra import FakeInfra
from unit.k8s_sky_provider.fake_engine.jobs import FakeManagedJobs
from unit.k8s_sky_provider.fake_engine.machines import FakeMachines
from unit.k8s_sky_provider.fake_engine.serve import FakeServices
from unit.k8s_sky_provider.fake_engine.storage import FakeStorage

__all__ = ["JOB_ID", "FakeEngine"]


class FakeEngine(
    FakeClusters, FakeClusterJobs, FakeMachines, FakeStorage, FakeInfra, FakeFiles, FakeManagedJobs, FakeServices
):
    """See the top of this file."""
