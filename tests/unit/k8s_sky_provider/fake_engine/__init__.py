"""A SkyPilot in memory: the one thing that the runner's tests fake.

:class:`FakeEngine` implements ``k8s_sky_provider.runner.engine_interface.Engine``, one module for each group of it.

* :meth:`FakeEngine.fail` names a method whose next calls raise.
* :attr:`FakeEngine.told_to_stop_in` names a method: SIGTERM arrives when it is under way.
* :attr:`FakeEngine.calls` has what was done, in order, as text: ``down sky-demo``.
"""

from __future__ import annotations

from unit.k8s_sky_provider.fake_engine.clusters import JOB_ID, FakeClusters
from unit.k8s_sky_provider.fake_engine.files import FakeFiles

__all__ = ["JOB_ID", "FakeEngine"]


class FakeEngine(FakeClusters, FakeFiles):
    """See the top of this file."""
