"""Every example loads as Airflow loads it: its arguments are right and it serializes."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.k8s_sky_provider.airflow_version import DagBag, serialized

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "example_dags").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_one_dag_of_its_files_name(path: Path) -> None:
    bag = DagBag(str(path))
    assert bag.import_errors == {}
    assert list(bag.dags) == [path.stem]
    dag = bag.dags[path.stem]
    assert serialized(dag).task_dict.keys() == dag.task_dict.keys()
