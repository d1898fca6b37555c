"""What hypothesis makes of tasks: for the checks that Airflow's half does, and for SkyPilot's own in the image."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

from k8s_sky_provider.operators import sections

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=6,
)

_OF_TYPE: dict[type, st.SearchStrategy[Any]] = {
    str: st.text() | st.sampled_from(["kubernetes", "A100:1", "2+", "docker:ubuntu", "1h", "{{ ds }}", "~/x", "$(id)"]),
    int: st.integers(),
    float: st.floats(),
    bool: st.booleans(),
    dict: st.dictionaries(st.text(min_size=1), json_values, max_size=3),
    list: st.lists(json_values, max_size=3),
}
# What YAML reads besides JSON.
_yaml_scalars = st.dates() | st.datetimes(timezones=st.none() | st.just(dt.UTC)) | st.binary() | st.sets(st.text())
_yaml_keys = st.text() | st.integers() | st.booleans() | st.none() | st.dates()
yaml_values: st.SearchStrategy[Any] = st.recursive(
    json_values | _yaml_scalars,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_yaml_keys, children, max_size=4),
    max_leaves=6,
)


def _of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type, or with the keys of a section."""
    if isinstance(kind, dict):
        return _mappings(kind)
    if isinstance(kind, list):
        return st.lists(_mappings(kind[0]), max_size=2)
    if isinstance(kind, frozenset):
        return st.sampled_from(sorted(kind))
    return yaml_values if kind is object else _OF_TYPE[kind]


def _mappings(keys: dict[str, sections.Kinds]) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings with some of the keys that there are, most of their values of a type that they may have."""
    pairs = [
        st.tuples(st.just(key), st.one_of(*(_of(kind) for kind in kinds * 2), yaml_values))
        for key, kinds in keys.items()
    ]
    return st.lists(st.one_of(pairs), max_size=6).map(dict)


_resources = _mappings(sections.RESOURCES)
_options = st.lists(_resources, max_size=3)
well_formed_tasks = st.builds(
    lambda task, resources: {**task, **({} if resources is None else {"resources": resources})},
    _mappings(sections.TASK),
    st.none() | _resources | st.builds(lambda key, rows: {key: rows}, st.sampled_from(["any_of", "ordered"]), _options),
)
"""Tasks with the right keys."""

tasks = st.one_of(well_formed_tasks, well_formed_tasks, st.dictionaries(_yaml_keys, yaml_values), yaml_values)
"""Tasks, and what is none."""
