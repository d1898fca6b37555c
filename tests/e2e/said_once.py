"""What a failed task's log may and may not have."""

from __future__ import annotations

# What KubernetesPodOperator and its trigger say of a failure besides.
_NOISE = (
    "state='TERMINATED'",
    '"protocol"',
    "Trigger emitted an",
    "Unexpected error while waiting for pod",
    "Pod Event:",
)
_OF_THE_POD = ("[base] ", "Pod event: ", "Container '", "The Pod has an Event: ")


def assert_said_once(log: str, error: str) -> None:
    """Check that the typed error is in a try's log once, with no other error, and that nothing of the pod is below it.

    :param error: name of the exception's class
    """
    assert log.count(f"{error}: ") == 1
    reason, _, below = log.partition(f"{error}: ")[2].partition("\n")
    assert f"[base] {reason}\n" not in log
    assert [text for text in _NOISE if text in log] == []
    assert [line for line in log.splitlines() if line.startswith(("AirflowException: ", "ApiException: "))] == []
    assert [line for line in below.splitlines() if line.startswith(_OF_THE_POD)] == []
