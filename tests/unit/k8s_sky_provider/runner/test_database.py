"""SkyPilot's database: its URI and what its errors mean. What a real PostgreSQL does is in tests/e2e."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import exc

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import database
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider.airflow_version import AIRFLOW

pytestmark = pytest.mark.skipif(
    AIRFLOW < (3, 1), reason="the runner's image has SQLAlchemy 2, an environment of Airflow before 3.1 has 1.4"
)

URI = "postgresql://sky:pass%40word@db.example.com:5432/sky?sslmode=require"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_usual_way_to_write_the_uri_means_the_driver_of_the_image(scheme: str) -> None:
    url = database.as_url(f"{scheme}://sky:pass%40word@db.example.com:5432/sky?sslmode=require\n")
    assert url.render_as_string(hide_password=False) == URI.replace("postgresql", "postgresql+psycopg2")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "sky",
        "mysql://sky:secret-word@db/sky",
        "postgresql+asyncpg://sky:secret-word@db/sky",
        "postgresql://sky:secret-word@db:port/sky",
        "postgresql://sky:secret@-word@db/sky",
        "postgresql://sky:secret-word@db",
    ],
)
def test_what_is_no_uri_is_a_wrong_deployment_and_nothing_of_it_is_shown(uri: str) -> None:
    with pytest.raises(ActionFailedError, match="the URI of SkyPilot's database cannot be read: correct") as caught:
        database.as_url(uri)
    assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG
    assert "secret" not in caught.value.reason.replace("database_secret", "")
    assert "word" not in caught.value.reason.replace("password", "")


@pytest.mark.parametrize(
    ("text", "exit_code", "reason"),
    [
        ('FATAL:  password authentication failed for user "sky"\n', ExitCode.CREDENTIALS_REFUSED, "refuses its user"),
        ('FATAL:  role "sky" does not exist', ExitCode.CREDENTIALS_REFUSED, "refuses its user"),
        ("permission denied for schema public", ExitCode.CREDENTIALS_REFUSED, "refuses its user"),
        ("FATAL:  no pg_hba.conf entry for host", ExitCode.CREDENTIALS_REFUSED, "refuses its user"),
        ('FATAL:  database "sky" does not exist', ExitCode.DEPLOYMENT_WRONG, "cannot be used"),
        ("server does not support SSL, but SSL was required", ExitCode.DEPLOYMENT_WRONG, "cannot be used"),
        ("Connection refused\n\tIs the server running?", ExitCode.TRY_AGAIN, "is out of reach: Connection refused Is"),
        ('could not translate host name "db" to address', ExitCode.TRY_AGAIN, "is out of reach"),
        ("FATAL:  sorry, too many clients already", ExitCode.TRY_AGAIN, "is out of reach"),
        ("timeout expired", ExitCode.TRY_AGAIN, "is out of reach"),
    ],
)
def test_what_an_error_means(text: str, exit_code: ExitCode, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDatabase:
        def connect(self) -> None:
            raise exc.OperationalError("INSERT a key", {"key": "private"}, Exception(text))

    def create(url: sqlalchemy.URL, **options: Any) -> NoDatabase:
        return NoDatabase()

    monkeypatch.setattr(sqlalchemy, "create_engine", create)
    with pytest.raises(ActionFailedError, match=reason) as caught:
        database.use({"SKYPILOT_DB_CONNECTION_URI": URI})
    assert caught.value.exit_code is exit_code
    assert "private" not in caught.value.reason
    assert "\n" not in caught.value.reason


def test_skypilot_gets_the_uri_as_the_image_needs_it_and_does_not_wait_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "DatabaseStore", lambda url: url)
    environment = {"SKYPILOT_DB_CONNECTION_URI": URI}
    database.use(environment)
    assert environment == {
        "SKYPILOT_DB_CONNECTION_URI": URI.replace("postgresql", "postgresql+psycopg2"),
        "PGCONNECT_TIMEOUT": "10",
    }
