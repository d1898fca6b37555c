"""SkyPilot's PostgreSQL: whether it can be used, and the provider's own notes and locks in it.

It is tried before SkyPilot is imported: SkyPilot reads its configuration from the database while it is imported, and
says little when that fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import exc

from k8s_sky_provider.protocol import ExitCode, read_json
from k8s_sky_provider.runner import skypilot_version
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import lock_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8s_sky_provider.protocol import JsonValue

URI_VARIABLE = "SKYPILOT_DB_CONNECTION_URI"
SECONDS_TO_CONNECT = 10

_DRIVER = "postgresql+psycopg2"
_SCHEMES = ("postgres", "postgresql", _DRIVER)
_WAY_OUT = "correct the URI in the Secret that database_secret names, as postgresql://USER:PASSWORD@HOST:5432/DATABASE"

# What follows a name is looked for once, after the first place that a name may begin at.
_REFUSED = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed|"
    r'\A(?>.*?role ").*" (does not exist|is not permitted)|permission denied'
)
_WRONG = re.compile(
    r'\A(?>.*?database ").*" does not exist|invalid (connection|URI)|does not support SSL|certificate verify'
)

_TABLE = """
CREATE TABLE IF NOT EXISTS k8s_sky_notes (
    kind text, name text, content text NOT NULL, updated_at timestamptz NOT NULL, PRIMARY KEY (kind, name)
)
"""

# The server asks after a client that says nothing, so that a lock does not outlive a lost node by hours.
_KEEPALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


def use(environment: dict[str, str] | os._Environ[str] = os.environ) -> DatabaseStore:
    """Return the store in the database of the environment, and have SkyPilot use it as this image needs.

    :raises ActionFailedError: if the database cannot be used
    """
    uri = as_url(environment[URI_VARIABLE])
    # Other drivers than this one are not in the image, and which one is meant without a name changed in SQLAlchemy 2.1.
    environment[URI_VARIABLE] = uri.render_as_string(hide_password=False)
    # For all connections, SkyPilot's too: they would wait for minutes.
    environment.setdefault("PGCONNECT_TIMEOUT", str(SECONDS_TO_CONNECT))
    return DatabaseStore(uri)


def as_url(uri: str) -> sqlalchemy.URL:
    """Read the URI.

    :raises ActionFailedError: if it is none; the text has nothing of the URI
    """
    scheme = uri.strip().partition("://")[0]
    try:
        url = sqlalchemy.make_url(uri.strip())
    except (exc.ArgumentError, ValueError):
        url = None
    if scheme not in _SCHEMES or url is None or not url.database or "@" in (url.host or ""):
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"the URI of SkyPilot's database cannot be read: {_WAY_OUT}, with @, : and / in a password written as "
            "%40, %3A and %2F",
        )
    return url.set(drivername=_DRIVER)


class DatabaseStore:
    """Notes as rows of one table; locks as advisory locks of one connection, which are gone with it.

    :param url: where the database is
    :raises ActionFailedError: if it cannot be used
    """

    outlives_the_pod = True

    def __init__(self, url: sqlalchemy.URL) -> None:
        self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
        self._held: dict[str, bool] = {}
        self._locks: sqlalchemy.Connection | None = None
        with _explained(), self._engine.connect() as connection:
            if connection.scalar(sqlalchemy.text("SELECT to_regclass('k8s_sky_notes')")) is None:
                # Two that make the same table at once get in each other's way, IF NOT EXISTS or not.
                connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:n)"), {"n": lock_number("table")})
                connection.execute(sqlalchemy.text(_TABLE))

    def note(self, kind: str, name: str, content: dict[str, JsonValue]) -> None:
        """Write a note, whole or not at all, over an earlier one."""
        self._execute(
            "INSERT INTO k8s_sky_notes VALUES (:kind, :name, :content, now()) "
            "ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at",
            kind=kind,
            name=name,
            content=json.dumps(content),
        )

    def read_note(self, kind: str, name: str) -> dict[str, JsonValue] | None:
        """Return a note; None if there is none, or none that can be read."""
        rows = self._execute(
            "SELECT content FROM k8s_sky_notes WHERE kind = :kind AND name = :name", kind=kind, name=name
        )
        try:
            content = read_json(rows[0][0]) if rows else None
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def forget_notes(self, kind: str, *, days: int, unless: Callable[[str], bool]) -> None:
        """Delete the notes of a kind that are older than that, unless their name is still of use."""
        rows = self._execute(
            "SELECT name FROM k8s_sky_notes WHERE kind = :kind AND updated_at < now() - make_interval(days => :days)",
            kind=kind,
            days=days,
        )
        for (name,) in rows:
            if not unless(name):
                # The age again, because another pod may have written it anew.
                self._execute(
                    "DELETE FROM k8s_sky_notes WHERE kind = :kind AND name = :name "
                    "AND updated_at < now() - make_interval(days => :days)",
                    kind=kind,
                    name=name,
                    days=days,
                )

    def try_lock(self, name: str, *, shared: bool) -> bool:
        """Take a lock if nobody has it, or only others that share it; the server frees it when this process ends."""
        with _explained():
            if self._locks is None:
                self._locks = self._engine.connect()
                self._locks.execute(sqlalchemy.text(_KEEPALIVE))
            taken = self._locks.scalar(
                sqlalchemy.text(f"SELECT pg_try_advisory_lock{'_shared' * shared}(:n)"), {"n": lock_number(name)}
            )
        if taken:
            self._held[name] = shared
        return bool(taken)

    def unlock(self, name: str) -> None:
        """Free a lock that this process has; the connection ends with the last of them."""
        if self._locks is None or name not in self._held:
            return
        shared, connection = self._held.pop(name), self._locks
        try:
            is_freed = connection.scalar(
                sqlalchemy.text(f"SELECT pg_advisory_unlock{'_shared' * shared}(:n)"), {"n": lock_number(name)}
            )
            if not self._held:
                self._locks = None
                connection.close()
        except exc.DBAPIError:
            # All that it had is free.
            self._locks = None
            self._held.clear()
            is_freed = False
            connection.invalidate()
        if not is_freed:
            print(f"The database was away: this task may not have been alone at work on {name}")

    def state_revision(self) -> int | None:
        """Return the revision of SkyPilot's state; None if there is no state yet."""
        if self._execute("SELECT to_regclass('alembic_version_state_db')")[0][0] is None:
            return None
        rows = self._execute(skypilot_version.SELECT_STATE_REVISION)
        return int(rows[0][0]) if rows else None

    def _execute(self, statement: str, **values: Any) -> list[Any]:
        with _explained(), self._engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement), values)
            return list(result) if result.returns_rows else []


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise the database's errors as :class:`ActionFailedError`, without statements and their values."""
    try:
        yield
    except exc.DBAPIError as error:
        text = " ".join(str(error.orig).split())
        if _REFUSED.search(text):
            raise ActionFailedError(
                ExitCode.CREDENTIALS_REFUSED, f"SkyPilot's database refuses its user: {text}; {_WAY_OUT}"
            ) from None
        if _WRONG.search(text):
            raise ActionFailedError(
                ExitCode.DEPLOYMENT_WRONG, f"SkyPilot's database cannot be used: {text}; {_WAY_OUT}"
            ) from None
        raise ActionFailedError(ExitCode.TRY_AGAIN, f"SkyPilot's database is out of reach: {text}") from None
