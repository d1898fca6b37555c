"""The fixtures of Airflow's own tests that the provider's tests use; then, the classes that are put in place."""

from __future__ import annotations

import datetime as dt
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from airflow.sdk import DAG
from airflow.settings import Session
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from tests_common.test_utils.dag import sync_dag_to_db
from tests_common.test_utils.taskinstance import get_template_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from airflow.sdk import Connection


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("db_test", "execution_timeout(seconds)", "platform(name)", "enable_redact"):
        config.addinivalue_line("markers", marker)


@pytest.fixture
def session() -> Iterator[Any]:
    with create_session() as new:
        yield new
        new.rollback()


class DagMaker:
    """Makes a DAG in the database, and a run of it."""

    def __init__(self) -> None:
        self.session: Any = Session()  # type: ignore[misc]  # Airflow makes it when it starts

    def __call__(self, dag_id: str = "test_dag", session: Any = None, **kwargs: Any) -> DagMaker:
        self.session = session or self.session
        kwargs.setdefault("start_date", dt.datetime(2016, 1, 1, tzinfo=dt.UTC))
        self.dag = DAG(dag_id, schedule=kwargs.pop("schedule", None), **kwargs)
        return self

    def __enter__(self) -> DAG:
        self.dag.__enter__()
        return self.dag

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dag.__exit__(kind, value, trace)  # type: ignore[no-untyped-call]  # Airflow has no types there
        if kind is None:
            self.scheduled = sync_dag_to_db(self.dag, session=self.session)
            self.session.commit()

    def create_dagrun(self, run_id: str = "test") -> Any:
        now = dt.datetime.now(tz=dt.UTC)
        run = self.scheduled.create_dagrun(
            run_id=run_id,
            run_type=DagRunType.MANUAL,
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            start_date=now,
            state=DagRunState.RUNNING,
            triggered_by=DagRunTriggeredByType.TEST,
            session=self.session,
        )
        for ti in run.task_instances:
            ti.refresh_from_task(self.scheduled.get_task(ti.task_id))
        return run


@pytest.fixture
def dag_maker() -> Iterator[DagMaker]:
    maker = DagMaker()
    yield maker
    maker.session.rollback()
    maker.session.close()


@pytest.fixture
def create_task_instance_of_operator(dag_maker: DagMaker) -> Callable[..., Any]:
    def create(operator_class: Callable[..., Any], *, dag_id: str, session: Any = None, **kwargs: Any) -> Any:
        with dag_maker(dag_id=dag_id, session=session):
            task = operator_class(**kwargs)
        (ti,) = dag_maker.create_dagrun().task_instances

        def render_templates() -> Any:
            task.render_template_fields(get_template_context(ti, task))
            return task

        ti.render_templates = render_templates
        return ti

    return create


@pytest.fixture
def create_connection_without_db(monkeypatch: pytest.MonkeyPatch) -> Callable[[Connection], None]:
    return lambda connection: monkeypatch.setenv(f"AIRFLOW_CONN_{connection.conn_id.upper()}", connection.as_json())


@pytest.fixture
def sdk_connection_not_found() -> None:
    """Connections that a test has not made are not found here anyway."""


@pytest.fixture(autouse=True)
def logs_reach_caplog(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hand what Airflow logs with structlog to logging, where pytest's caplog is."""
    if "caplog" not in request.fixturenames:
        # Some tests count the calls of time.time.
        yield
        return

    def forward(logger: Any, method: str, event: Any) -> Any:
        level = logging.getLevelNamesMapping().get(method.upper(), logging.ERROR)
        logging.getLogger(f"forwarded.{event.get('logger', '')}").log(
            level, "%s", event["event"], exc_info=event.get("exc_info")
        )
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    kept = processors[:]
    processors.insert(len(processors) - 1, forward)
    logging.getLogger("forwarded").setLevel(logging.DEBUG)
    yield
    processors[:] = kept


if "SKY_SUBSTITUTE" in os.environ:
    import substitute  # noqa: F401  # importing it puts the classes in place
