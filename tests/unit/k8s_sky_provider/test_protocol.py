"""The request reaches the runner as it was sent, and the result always fits into a termination message."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_sky_provider.protocol import (
    PACKABLE,
    PROTOCOL_VERSION,
    REQUEST_LIMIT,
    TERMINATION_MESSAGE_LIMIT,
    ExitCode,
    OnCancel,
    OnEviction,
    Owner,
    ProtocolError,
    SkyRequest,
    SkyResult,
    TaskOverrides,
)

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="manual__2026", task_id="launch", map_index=3, try_number=2)
REQUEST = SkyRequest(
    action="launch",
    arguments={"task": {"run": "echo $(HOSTNAME) $$(ESCAPED) ${HOME} $1"}, "envs": {"PRICE": "5$", "NAME": "Zoë"}},
    owner=OWNER,
    on_cancel=OnCancel.DOWN,
    expected_mounts={"/home/sky/.aws": "Secret 'aws'"},
    allow_network_file_system=True,
    local_files="e3b0c442",
)
NOISE = "".join(map(chr, random.Random(1).choices(range(32, 1000), k=8000)))  # noqa: S311  # no secret
"""Text that does not get shorter when it is packed."""

RESULT = SkyResult(
    action="launch",
    exit_code=ExitCode.JOB_FAILED,
    return_value={"rows": [1, "two", None, True]},
    reason="Job 7 ended as FAILED",
    error="CommandError",
    cluster_name="demo",
    job_id=7,
    job_status="FAILED",
    job_exit_codes=[0, 3],
    log_tail=["boom", "größer"],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
# Hypothesis finds the shapes, the repetitions make them too long.
long_texts = st.builds(lambda text, times: text * times, st.text(max_size=8), st.sampled_from([1, 600]))
long_values = st.one_of(
    json_values,
    long_texts,
    st.builds(lambda item, times: [item] * times, json_values, st.sampled_from([1, 200])),
    st.builds(lambda text: {"output": text}, long_texts),
)


def as_kubernetes_expands(argument: str) -> str:
    """Expand ``$(NAME)`` and ``$$`` in a container's argument, as the kubelet does."""
    environment = {"HOSTNAME": "expanded", "HOME": "expanded"}
    return re.sub(
        r"\$(?:\$|\((\w+)\))",
        lambda found: "$" if found[0] == "$$" else environment.get(found[1], found[0]),
        argument,
    )


def changed(text: str, **changes: Any) -> str:
    return json.dumps({**json.loads(text), **changes})


def test_a_request_arrives_as_it_was_sent() -> None:
    assert SkyRequest.from_argument(REQUEST.to_argument()) == REQUEST


def test_a_request_survives_the_expansion_of_variables_in_pod_arguments() -> None:
    assert SkyRequest.from_argument(as_kubernetes_expands(REQUEST.to_argument())) == REQUEST


@given(arguments=st.dictionaries(st.text(), json_values), text=st.text())
def test_any_arguments_arrive_as_they_were_sent(arguments: dict[str, Any], text: str) -> None:
    owner = dataclasses.replace(OWNER, dag_id=text)
    request = SkyRequest(action="launch", arguments=arguments, owner=owner)
    assert SkyRequest.from_argument(as_kubernetes_expands(request.to_argument())) == request


def test_a_request_without_the_optional_fields_takes_their_defaults() -> None:
    data = json.loads(REQUEST.to_argument())
    short = {key: data[key] for key in ("protocol", "action", "arguments", "owner")}
    request = SkyRequest.from_argument(json.dumps(short))
    assert (request.on_cancel, request.expected_mounts, request.allow_network_file_system) == (None, {}, False)
    assert request.local_files is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "the request is not JSON", id="not JSON"),
        pytest.param("[]", "the request must be an object, not list", id="not an object"),
        pytest.param("{}", "protocol version None", id="no version"),
        pytest.param(changed(REQUEST.to_argument(), protocol=1), "protocol version 1", id="another version"),
        pytest.param(changed(REQUEST.to_argument(), colour=1), "unknown fields: colour", id="unknown field"),
        pytest.param(
            json.dumps({"protocol": PROTOCOL_VERSION, "action": "down"}),
            "lacks the fields: arguments, owner",
            id="missing fields",
        ),
        pytest.param(changed(REQUEST.to_argument(), action=3), "action must be of type str", id="wrong action"),
        pytest.param(changed(REQUEST.to_argument(), arguments=[]), "arguments must be of type dict", id="arguments"),
        pytest.param(
            changed(REQUEST.to_argument(), expected_mounts=[]), "expected_mounts must be of type dict", id="mounts"
        ),
        pytest.param(changed(REQUEST.to_argument(), local_files=3), "local_files must be of type str", id="files"),
        pytest.param(changed(REQUEST.to_argument(), on_cancel="explode"), "on_cancel: 'explode'", id="on_cancel"),
        pytest.param(changed(REQUEST.to_argument(), owner="me"), "owner must be an object, not str", id="owner"),
        pytest.param(
            changed(REQUEST.to_argument(), owner={"dag_id": "dag"}), "owner lacks the fields", id="half an owner"
        ),
    ],
)
def test_a_malformed_request_is_refused_by_name_of_the_field(text: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(message)):
        SkyRequest.from_argument(text)


def test_a_request_of_another_version_says_which_side_to_change() -> None:
    with pytest.raises(ProtocolError, match=r"the provider in Airflow was built from another version .* both sides"):
        SkyRequest.from_argument(changed(REQUEST.to_argument(), protocol=99))


def test_a_request_that_linux_would_refuse_is_too_long_with_the_way_out() -> None:
    request = SkyRequest(action="launch", arguments={"task": {"run": "x" * REQUEST_LIMIT}}, owner=OWNER)
    with pytest.raises(ProtocolError, match=r"the request is 12\d{4} bytes long .* put the task YAML on the volume"):
        request.to_argument()


def test_the_length_of_a_request_is_counted_in_bytes() -> None:
    fits = SkyRequest(action="launch", arguments={"run": "é" * 25_000 + "\ud800$"}, owner=OWNER)
    assert 50_000 < len(fits.to_argument().encode()) < 51_000
    assert SkyRequest.from_argument(fits.to_argument()) == fits
    request = SkyRequest(action="launch", arguments={"run": "ü" * (REQUEST_LIMIT // 2)}, owner=OWNER)
    with pytest.raises(ProtocolError, match="bytes long"):
        request.to_argument()


def test_the_identity_of_a_task_instance_has_no_try_number() -> None:
    assert OWNER.task_instance == dataclasses.replace(OWNER, try_number=9).task_instance
    assert OWNER.task_instance != dataclasses.replace(OWNER, map_index=4).task_instance


def test_a_result_arrives_as_it_was_sent() -> None:
    assert SkyResult.from_json(RESULT.to_json()) == RESULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("Killed", "the result is not JSON", id="not JSON"),
        pytest.param('"done"', "the result must be an object, not str", id="not an object"),
        pytest.param(changed(RESULT.to_json(), protocol=0), "the image's runner was built from another", id="version"),
        pytest.param(changed(RESULT.to_json(), mood="good"), "the result has unknown fields: mood", id="unknown field"),
        pytest.param('{"protocol": 1, "action": "down"}', "the result lacks the fields: exit_code", id="missing field"),
        pytest.param(changed(RESULT.to_json(), exit_code="0"), "exit_code must be of type int", id="exit code"),
        pytest.param(changed(RESULT.to_json(), reason=None), "reason must be of type str", id="reason"),
        pytest.param(changed(RESULT.to_json(), log_tail="boom"), "log_tail must be of type list", id="log tail"),
    ],
)
def test_a_malformed_result_is_refused_by_name_of_the_field(text: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(message)):
        SkyResult.from_json(text)


def test_a_short_result_is_not_touched() -> None:
    assert RESULT.cut_to_fit("/whole.json") is RESULT


@given(
    return_value=long_values,
    reason=long_texts,
    log_tail=st.lists(long_texts, max_size=8),
    exit_codes=st.builds(lambda times: [137] * times, st.sampled_from([0, 1, 1500])),
    whole_result=st.none() | st.just("/home/sky/sky_logs/results/dag-run-task.json"),
)
def test_any_result_can_be_cut_to_a_termination_message(
    *, return_value: Any, reason: str, log_tail: list[str], exit_codes: list[int], whole_result: str | None
) -> None:
    result = SkyResult(
        action="launch",
        exit_code=ExitCode.JOB_FAILED,
        return_value=return_value,
        reason=reason,
        cluster_name="c" * 63,
        job_exit_codes=exit_codes,
        log_tail=log_tail,
    )
    cut = result.cut_to_fit(whole_result)
    message = cut.to_message().encode()
    assert len(message) <= TERMINATION_MESSAGE_LIMIT
    # A file of UTF-8, which is what Kubernetes reads.
    assert SkyResult.from_json(message.decode()) == SkyResult.from_json(cut.to_json())
    assert (cut.exit_code, cut.cluster_name) == (result.exit_code, result.cluster_name)
    if not result.fits():
        assert cut != result
    if cut.return_value != result.return_value or cut.reason != result.reason:
        assert cut.truncated
        assert cut.whole_result == whole_result


def test_text_that_is_no_utf8_does_not_cost_the_result() -> None:
    reason = b"cannot read caf\xe9.yaml".decode(errors="surrogateescape")
    result = dataclasses.replace(RESULT, reason=reason)
    assert result.fits()
    assert SkyResult.from_json(result.to_json()).reason == "cannot read caf?.yaml"


def test_a_result_that_was_cut_says_so_and_where_the_whole_is() -> None:
    cut = dataclasses.replace(RESULT, return_value=NOISE).cut_to_fit("/home/sky/sky_logs/results/whole.json")
    assert cut.truncated
    assert cut.whole_result == "/home/sky/sky_logs/results/whole.json"
    assert 0 < len(cut.return_value) < len(NOISE)
    assert NOISE.startswith(cut.return_value)


def test_the_oldest_log_lines_go_first_and_the_newest_stay() -> None:
    lines = [f"line {number} {NOISE[number * 8 : number * 8 + 8]}" for number in range(1000)]
    cut = dataclasses.replace(RESULT, log_tail=lines).cut_to_fit(None)
    assert cut.log_tail[-1] == lines[-1]
    assert 0 < len(cut.log_tail) < 1000
    assert cut.return_value == RESULT.return_value


def test_a_list_is_whole_or_it_is_not_there() -> None:
    rows = [{"name": NOISE[n * 16 : n * 16 + 16]} for n in range(500)]
    cut = dataclasses.replace(RESULT, return_value=rows).cut_to_fit("/whole.json")
    assert cut.return_value is None
    assert cut.truncated
    assert cut.whole_result == "/whole.json"


def test_a_long_result_is_packed() -> None:
    rows = [{"name": f"cluster-{n}", "status": "UP", "resources": "1x(cpus=4, mem=16)"} for n in range(100)]
    result = dataclasses.replace(RESULT, return_value=rows)
    assert len(result.to_json()) > TERMINATION_MESSAGE_LIMIT
    assert len(result.to_message()) < TERMINATION_MESSAGE_LIMIT
    assert SkyResult.from_json(result.to_message()) == result
    assert RESULT.to_message() == RESULT.to_json()


@pytest.mark.parametrize("packed", ["", "no base 85 \\", "Wpd", 7, None], ids=str)
def test_a_result_that_cannot_be_unpacked_is_refused(packed: object) -> None:
    with pytest.raises(ProtocolError, match="the result cannot be unpacked"):
        SkyResult.from_json(json.dumps({"protocol": PROTOCOL_VERSION, "packed": packed}))


def test_exit_codes_are_those_of_the_design() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "REQUEST_WRONG": 64,
        "JOB_FAILED": 65,
        "SETUP_FAILED": 66,
        "RESOURCES_UNAVAILABLE": 69,
        "INTERNAL_ERROR": 70,
        "TRY_AGAIN": 75,
        "CREDENTIALS_REFUSED": 77,
        "DEPLOYMENT_WRONG": 78,
        "EVICTED": 79,
        "CANCELLED": 143,
    }


WIRE = Path(__file__).parent / "wire"


def described(cls: type[Any]) -> dict[str, str]:
    """Return the fields of a dataclass of the wire, with their types."""
    return {field.name: str(field.type) for field in dataclasses.fields(cls)}


def test_a_change_of_the_wire_raises_its_version() -> None:
    """Airflow and the image are never upgraded in the same second: each side names what it does not understand."""
    now = {cls.__name__: described(cls) for cls in (Owner, TaskOverrides, SkyRequest, SkyResult)}
    now["ExitCode"] = {code.name: str(code.value) for code in ExitCode}
    now["OnCancel"] = {word.name: word.value for word in OnCancel}
    now["OnEviction"] = {word.name: word.value for word in OnEviction}
    assert now == json.loads((WIRE / f"{PROTOCOL_VERSION}.json").read_text()), (
        "what both sides say has changed: raise PROTOCOL_VERSION, let SkyResult.from_json read the results "
        f"of the version before, and write wire/{PROTOCOL_VERSION + 1}.json"
    )


@pytest.mark.parametrize("version", range(1, PROTOCOL_VERSION))
def test_a_result_of_a_version_before_is_read(version: int) -> None:
    before = json.dumps({**json.loads(RESULT.to_json()), "protocol": version})
    assert SkyResult.from_json(before) == RESULT


class TestStorable:
    """Airflow's database takes every result, and nobody reads a field that is not what it must be."""

    def test_nul_and_halves_of_characters_are_replaced_on_both_sides(self) -> None:
        result = SkyResult(action="ssh", exit_code=0, return_value={"a\0": ["x\0y", "\ud800"]}, reason="\0")
        for text in (result.to_json(), json.dumps({"protocol": PROTOCOL_VERSION, **result.to_dict()})):
            read = SkyResult.from_json(text)
            assert (read.return_value, read.reason) == ({"a\ufffd": ["x\ufffdy", "?"]}, "\ufffd")
            assert "\\u0000" not in json.dumps(read.to_dict())

    @pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
    def test_numbers_that_json_has_not_are_refused(self, number: str) -> None:
        text = json.dumps({**json.loads(RESULT.to_json()), "return_value": "HERE"}).replace('"HERE"', f"[{number}]")
        with pytest.raises(ProtocolError, match="NaN or an infinite number"):
            SkyResult.from_json(text)

    @pytest.mark.parametrize("depth", [52, 900])
    def test_values_that_are_too_deep_are_refused(self, depth: int) -> None:
        value = "[" * depth + "]" * depth
        text = json.dumps({**json.loads(RESULT.to_json()), "return_value": "HERE"}).replace('"HERE"', value)
        with pytest.raises(ProtocolError, match="nested more than 50 deep"):
            SkyResult.from_json(text)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("exit_code", True),
            ("error", 3),
            ("cluster_name", ["a"]),
            ("job_id", "7"),
            ("job_status", {}),
            ("job_exit_codes", {"0": 1}),
            ("job_exit_codes", [None]),
            ("job_exit_codes", [True]),
            ("truncated", "no"),
            ("whole_result", 1),
        ],
    )
    def test_a_field_of_another_type_is_named(self, field: str, value: Any) -> None:
        with pytest.raises(ProtocolError, match=f"the result's {field} must be"):
            SkyResult.from_json(changed(RESULT.to_json(), **{field: value}))


@pytest.mark.parametrize("field", ["return_value", "reason"])
def test_a_text_of_any_length_is_cut_without_packing_it_again_and_again(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    packed: list[int] = []
    compress = zlib.compress

    def counting(data: bytes, level: int) -> bytes:
        packed.append(len(data))
        return compress(data, level=level)

    monkeypatch.setattr("k8s_sky_provider.protocol.zlib.compress", counting)
    monkeypatch.setattr("k8s_sky_provider.protocol.PACKABLE", 40_000)
    text = "".join(f"{number:x}" for number in range(200_000))
    fields: dict[str, Any] = {field: text}
    cut = SkyResult(action="ssh", exit_code=0, **fields).cut_to_fit(None)
    assert cut.fits()
    assert cut.truncated
    assert text.startswith(getattr(cut, field))
    assert sum(packed) < 9 * 40_000 + 200_000


def test_nothing_that_is_longer_than_packable_would_have_fitted() -> None:
    assert len(zlib.compress(b"a" * PACKABLE, level=9)) * 5 / 4 > 4096
