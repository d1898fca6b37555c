"""The log of a pod, each line once.

Kubernetes can only be asked for the last whole seconds of a log, so whoever reads on asks for more than is
missing and drops what is known: each line has a timestamp in nanoseconds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import re
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    AsyncPodManager,
    PodLoggingStatus,
    PodLogsConsumer,
    PodManager,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from kubernetes.client import models as k8s
    from pendulum import DateTime

OVERLAP_SECONDS = 5
"""How much more is asked for: clocks differ, and KubernetesPodOperator reads on two seconds late after a timeout."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[-+]\d\d:\d\d) ?(.*)", re.DOTALL)


class NewLines:
    """Tells of each line of a log whether it has come before. Its reader calls :meth:`start` before each read.

    :param since: timestamp of the last line that is known, as :attr:`last` had it
    """

    def __init__(self, since: str | None = None) -> None:
        self.last = since or ""
        self._at_last = 1 if since else 0
        self._to_skip = 0

    def start(self) -> None:
        """Begin to read the log again, from a place at or before the last line."""
        self._to_skip = self._at_last

    def split(self, line: str) -> tuple[bool, str]:
        """Return whether a line with its timestamp is new, and the line without it."""
        found = _STAMP.match(line)
        if found is None:
            return True, line
        stamp = f"{found[1]}.{(found[2] or '').ljust(9, '0')}{found[3]}"
        if stamp < self.last:
            return False, found[4]
        if stamp > self.last:
            self.last, self._at_last, self._to_skip = stamp, 1, 0
            return True, found[4]
        if self._to_skip:
            self._to_skip -= 1
            return False, found[4]
        self._at_last += 1
        return True, found[4]


def seconds_since(stamp: str | dt.datetime | None) -> int | None:
    """Return how many seconds of log to ask for, to get all after a timestamp; None for all there is."""
    if not stamp:
        return None
    # Python's own format has microseconds.
    moment = (
        stamp if isinstance(stamp, dt.datetime) else dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stamp))
    )
    return max(1, math.ceil((dt.datetime.now(tz=dt.UTC) - moment).total_seconds()) + OVERLAP_SECONDS)


class _NewLinesConsumer(PodLogsConsumer):
    """KubernetesPodOperator's reader of a log, without the lines that have come before."""

    new_lines: NewLines

    def __iter__(self) -> Generator[bytes, None, None]:
        self.new_lines.start()
        for line in super().__iter__():
            # What comes after the last line is empty.
            if line and self.new_lines.split(line.decode(errors="replace"))[0]:
                yield line


class OncePodManager(PodManager):
    """KubernetesPodOperator's pod manager, that logs each line once and the last one too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._new_lines: dict[tuple[str, str], NewLines] = {}

    def read_pod_logs(
        self,
        pod: k8s.V1Pod,
        container_name: str,
        tail_lines: int | None = None,
        timestamps: bool = False,
        since_seconds: int | None = None,
        **kwargs: Any,
    ) -> PodLogsConsumer:
        """Read the log, asking for more than is missing and leaving out what has come before."""
        if since_seconds is not None:
            since_seconds += OVERLAP_SECONDS
        logs: PodLogsConsumer = super().read_pod_logs(
            pod, container_name, tail_lines, timestamps, since_seconds, **kwargs
        )
        if not timestamps:
            return logs
        consumer = _NewLinesConsumer(
            response=logs.response,
            pod=pod,
            pod_manager=self,
            container_name=container_name,
            post_termination_timeout=logs.post_termination_timeout,
        )
        consumer.new_lines = self._new_lines.setdefault((pod.metadata.uid, container_name), NewLines())
        return consumer

    def resume(self, pod: k8s.V1Pod, container_name: str, since: str | None) -> None:
        """Take all lines up to a timestamp of :attr:`NewLines.last` as known."""
        self._new_lines[(pod.metadata.uid, container_name)] = NewLines(since)

    def fetch_container_logs(
        self, pod: k8s.V1Pod, container_name: str, *, follow: bool = False, **kwargs: Any
    ) -> PodLoggingStatus:
        """Log what is new; a log that was followed is read once more at its end, for the connection may have broken."""
        status = super().fetch_container_logs(pod, container_name, follow=follow, **kwargs)
        if not follow or status.running:
            return status
        return super().fetch_container_logs(pod, container_name, **{**kwargs, "since_time": status.last_log_time})


class OnceAsyncPodManager(AsyncPodManager):
    """The triggerer's pod manager, that logs each line once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._new_lines: NewLines | None = None

    async def fetch_container_logs_before_current_sec(  # type: ignore[override]  # the trigger only hands it on
        self, pod: k8s.V1Pod, container_name: str, since_time: DateTime | str | None = None
    ) -> str | None:
        """Log what is new, and return the timestamp of the last line, to nanoseconds."""
        if self._new_lines is None:
            self._new_lines = NewLines(str(since_time) if since_time else None)
        new_lines = self._new_lines
        lines = await self._hook.read_logs(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            container_name=container_name,
            since_seconds=seconds_since(new_lines.last),
        )
        await asyncio.to_thread(self._log_new, new_lines, lines, container_name)
        return new_lines.last or None

    def _log_new(self, new_lines: NewLines, lines: list[str], container_name: str) -> None:
        new_lines.start()
        for line in lines:
            is_new, text = new_lines.split(line)
            if is_new and text.strip():
                self.log.info("[%s] %s", container_name, text.rstrip("\n"))
