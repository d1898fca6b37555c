"""Runs in a pod of the SkyPilot image: what the store in a PostgreSQL promises, tried on a real one."""

from __future__ import annotations

import concurrent.futures
import time

import sqlalchemy
from sky import global_user_state

from k8s_sky_provider.runner import database, skypilot_version
from k8s_sky_provider.runner.failure import ActionFailedError

with concurrent.futures.ThreadPoolExecutor(20) as pool:
    # All at once on a database that is new: the table is made once.
    ours, other, third = list(pool.map(lambda _: database.use(), range(20)))[:3]
server = sqlalchemy.create_engine(ours._engine.url, isolation_level="AUTOCOMMIT").connect()

assert ours.try_lock("demo", shared=False)
assert not other.try_lock("demo", shared=True)
assert other.try_lock("another", shared=False)
other.unlock("another")
ours.unlock("demo")
assert ours.try_lock("demo", shared=True)
assert other.try_lock("demo", shared=True)
assert not third.try_lock("demo", shared=False)
ours.unlock("demo")
other.unlock("demo")

# One that waits to have it alone is in the gate; that is freed without the lock behind it.
assert ours.try_lock("gate of demo", shared=False)
assert not other.try_lock("gate of demo", shared=True)
assert ours.try_lock("demo", shared=False)
ours.unlock("gate of demo")
assert other.try_lock("gate of demo", shared=True)
assert not other.try_lock("demo", shared=True)
other.unlock("gate of demo")
ours.unlock("demo")
assert other.try_lock("demo", shared=True)
other.unlock("demo")

# The connection is lost, as when the server starts again: the lock is free and its holder hears of it at the end.
assert ours.try_lock("demo", shared=False)
server.execute(sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
for _ in range(100):
    # A connection takes its time to end.
    if other.try_lock("demo", shared=False):
        break
    time.sleep(0.1)
else:
    raise AssertionError("the lock of a connection that is lost is not free")
ours.unlock("demo")

for name in ("old", "old but of use", "young"):
    ours.note("owners", name, {"first": 1})
    ours.note("owners", name, {"second": 2})
old = "UPDATE k8s_sky_notes SET updated_at = now() - interval '31 days' WHERE name LIKE 'old%'"
server.execute(sqlalchemy.text(old))
ours.forget_notes("owners", days=30, unless=lambda name: name.endswith("of use"))
found = [ours.read_note("owners", name) for name in ("old", "old but of use", "young")]
assert found == [None, {"second": 2}, {"second": 2}], found

# SkyPilot's own migrations set the revision; one that no SkyPilot knows is refused before SkyPilot is called.
assert ours.state_revision() is None
global_user_state.get_clusters()
skypilot_version.check_state(ours)
assert ours.state_revision() is not None
server.execute(sqlalchemy.text("UPDATE alembic_version_state_db SET version_num = '999'"))
refusal = ""
try:
    skypilot_version.check_state(ours)
except ActionFailedError as error:
    refusal = error.reason
assert "at revision 999, of a newer SkyPilot" in refusal, refusal
print("all is well")
