"""The log of a pod, each line once.

Kubernetes can only be asked for the last whole seconds of a log, so whoever reads on asks for more than is
missing and drops what is known: each line has a timestamp in nanoseconds.

Kubernetes starts a new log file after 10 MiB, and gives nobody the older ones. Who follows a log gets what was in them
already; but older kubelets then stop talking, so a connection that is silent is not trusted for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import fcntl
import logging
import math
import re
import secrets
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, cast

import pendulum
from aiohttp import ClientError, SocketTimeoutError
from airflow.providers.cncf.kubernetes.callbacks import ExecutionMode
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    AsyncPodManager,
    PodLoggingStatus,
    PodLogsConsumer,
    PodManager,
)
from kubernetes.client.exceptions import ApiException
from kubernetes_asyncio import client as async_client
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as SilenceError

from k8s_sky_provider.refusals import api_message, refused_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from kubernetes.client import models as k8s
    from pendulum import DateTime
    from urllib3.response import HTTPResponse

SECONDS_OF_SILENCE = 10
"""How long a connection may be silent before another one is made. The runner prints so slowly that no second log file
can be full by then (:data:`k8s_sky_provider.runner.output.BYTES_PER_SECOND`)."""

CONNECT_SECONDS = 30
"""How long it may take to connect to the Kubernetes API."""

FEW_LINES = 50
"""Up to how many lines that come together have a record each."""

BATCH_SIZE = 16_000
"""Characters from which on a record with many lines is full."""

BYTES_AHEAD = 256 * 1024
"""How much of a log a worker reads ahead of what it logs."""

SECONDS_BETWEEN_READS = 0.5
"""How long to wait after a connection that broke, or ended and had nothing new."""

SECONDS_BETWEEN_LOOKS = 5.0
"""How often a base container is looked at whose log is not asked for."""

SECONDS_AFTER_END = 24 * 3600
"""How long a log is read on after its container has ended."""

SECONDS_OF_A_GAP = 2.0
"""From which length on a gap in the timestamps, where the log has begun anew, is told of: more than a pause that the
runner makes (:data:`k8s_sky_provider.runner.output.SECONDS_OF_A_PAUSE`)."""

SECONDS_TO_NOTE = 3.0
"""How long the triggerer may take to note how far it has read a log."""

POSITION_ANNOTATION = "k8s-sky/log-read-up-to"
"""Annotation of a deferred task's pod: timestamp of the last line that is logged."""

CREATE_ANNOTATION = "k8s-sky/create"
"""Annotation of a pod: a random token of the request that created it, by which a lost answer is made good."""

OVERLAP_SECONDS = 5
"""How much more is asked for: clocks differ, and KubernetesPodOperator reads on two seconds late after a timeout."""

# A line of a level of its own, or a mark that folds the log.
_STANDS_ALONE = re.compile(r"::|\s*\[?(?:DEBUG|WARN|ERROR|CRITICAL|FATAL)", re.IGNORECASE)

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[-+]\d\d:\d\d) ?(.*)", re.DOTALL)


LONGEST_LINE = 64 * 1024
"""Bytes of a line that are logged: the runner's are shorter, another image may print one without an end."""


class LineSplitter:
    """Makes lines of the pieces of a log, whatever their length; the rest of a line that is too long is left out.

    :ivar begun: the line whose end has not come yet
    """

    def __init__(self) -> None:
        self.begun = b""
        self._is_cut = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that end with this piece, or that are too long by now."""
        *lines, begun = (self.begun + piece).split(b"\n")
        if self._is_cut and not lines:
            begun = b""
        elif self._is_cut:
            self._is_cut = False
            del lines[0]
        if len(begun) > LONGEST_LINE:
            self._is_cut = True
            lines.append(begun[:LONGEST_LINE])
            begun = b""
        self.begun = begun
        return lines


class NewLines:
    """Tells of each line of a log whether it has come before. Its reader calls :meth:`start` before each read.

    :param since: timestamp of the last line that is known, as :attr:`last` had it
    """

    def __init__(self, since: str | None = None) -> None:
        self.last = since or ""
        self.gap: tuple[str, str] | None = None
        """Between which two timestamps lines may be missing; whoever reads tells of it, and takes it away."""
        self._at_last = 1 if since else 0
        self._to_skip = 0
        self._is_first = False

    def start(self) -> None:
        """Begin to read the log again, from a place at or before the last line."""
        self._to_skip = self._at_last
        self._is_first = bool(self.last)

    def split(self, line: str) -> tuple[bool, str]:
        """Return whether a line with its timestamp is new, and the line without it."""
        stamp, text = _stamp_and_text(line)
        if not stamp:
            return True, text
        if self._is_first:
            self._is_first = False
            if stamp > self.last and (_moment(stamp) - _moment(self.last)).total_seconds() > SECONDS_OF_A_GAP:
                self.gap = self.last, stamp
        if stamp < self.last:
            return False, text
        if stamp > self.last:
            self.last, self._at_last, self._to_skip = stamp, 1, 0
            return True, text
        if self._to_skip:
            self._to_skip -= 1
            return False, text
        self._at_last += 1
        return True, text


def read_up_to(pod: k8s.V1Pod, known: Any) -> str | None:
    """Return the timestamp up to which a pod's log has been read: the one that is known, or a later one noted on it."""
    annotations: dict[str, str] = pod.metadata.annotations or {}
    return max(str(known or ""), _sound(annotations.get(POSITION_ANNOTATION, ""))) or None


def _sound(noted: str) -> str:
    """Return a timestamp that is noted on a pod; empty if it is none, or one of another day that is yet to come."""
    stamp, text = _stamp_and_text(noted)
    try:
        is_sound = not text and _moment(stamp) < dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)
    except ValueError:
        return ""
    return stamp if is_sound else ""


def seconds_since(stamp: str | dt.datetime | None) -> int | None:
    """Return how many seconds of log to ask for, to get all after a timestamp; None for all there is."""
    if not stamp:
        return None
    moment = stamp if isinstance(stamp, dt.datetime) else _moment(stamp)
    return max(1, math.ceil((dt.datetime.now(tz=dt.UTC) - moment).total_seconds()) + OVERLAP_SECONDS)


def _stamp_and_text(line: str) -> tuple[str, str]:
    """Return a line's timestamp, empty if it has none, and what was printed."""
    found = _STAMP.match(line)
    if found is None:
        return "", line
    return f"{found[1]}.{(found[2] or '').ljust(9, '0')}{found[3]}", found[4]


def _as_date_time(stamp: str) -> DateTime | None:
    """Return a timestamp as KubernetesPodOperator has it."""
    return pendulum.instance(_moment(stamp)) if stamp else None


def _moment(stamp: str) -> dt.datetime:
    # Python's own format has microseconds.
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stamp))


async def log_is_taken() -> None:
    """Wait until the triggerer has read what its triggers have logged.

    They write to a socket, which the triggerer reads in its own time. What it reads after it knows that a trigger
    has ended is missing in the task's log: https://github.com/apache/airflow/issues/66158.
    """
    outputs = [stream for handler in logging.getLogger().handlers if (stream := getattr(handler, "stream", None))]
    while any(_unread_bytes(output) for output in outputs):  # noqa: ASYNC110  # nobody tells when a socket is read
        await asyncio.sleep(0.05)


def _unread_bytes(output: Any) -> int:
    """Return how much of what was written to a socket is not read yet; 0 for any other file."""
    try:
        answer = fcntl.ioctl(output.fileno(), termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])


def _tell_of_gap(new_lines: NewLines, log: Any) -> None:
    if new_lines.gap:
        log.warning(
            "Lines may be missing here, from %s to %s: Kubernetes shows nothing of a log file that it has rotated "
            "away. The job's own log on its cluster is whole (SkyLogsOperator).",
            *new_lines.gap,
        )
        new_lines.gap = None


class _Batch:
    """Logs lines, and many of them at once where they come faster: a record costs a worker more than a line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._write: Callable[[], None] = lambda: None

    def add(self, line: str, *, prefix: str, more: bool, log: Callable[[str], None]) -> None:
        """Log a line now, or soon if there are more.

        :param prefix: goes before each line but the first of a record
        """
        self._write = lambda: log(f"\n{prefix}".join(self._lines))
        self._lines.append(line)
        self._size += len(line)
        if not more or self._size > BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Log what has been kept."""
        if self._lines:
            self._write()
        self._lines, self._size = [], 0


class _Ahead:
    """A response that a thread reads ahead: :meth:`stream` yields at once the lines that have come already."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self._changed = threading.Condition()
        self._come = bytearray()
        self._error: BaseException | None = None
        self._is_over = False

    def stream(self, **options: Any) -> Iterator[bytes]:
        """Yield the lines that have come, whole and together, as far as they are not too long."""
        threading.Thread(target=self._read, kwargs=options, name="pod-log", daemon=True).start()
        splitter = LineSplitter()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._come or self._is_over)
                chunk, self._come = bytes(self._come), bytearray()
                self._changed.notify_all()
            if not chunk:
                break
            if lines := splitter.feed(chunk):
                yield b"\n".join([*lines, b""])
        if self._error:
            raise self._error
        if splitter.begun:
            yield splitter.begun

    def _read(self, **options: Any) -> None:
        try:
            for chunk in self._response.stream(**options):
                with self._changed:
                    self._changed.wait_for(lambda: len(self._come) < BYTES_AHEAD)
                    self._come += chunk
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  # it is raised where the log is read
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


class _NewLinesConsumer(PodLogsConsumer):
    """KubernetesPodOperator's reader of a log, without the lines that have come before."""

    new_lines: NewLines
    pod_manager: OncePodManager

    def __iter__(self) -> Generator[bytes, None, None]:
        self.new_lines.start()
        try:
            for line in super().__iter__():
                if not line.endswith(b"\n") and self.pod_manager.container_is_running(self.pod, self.container_name):
                    # Cut off; it comes again as a whole.
                    return
                # What comes after the last line is empty.
                is_new = line and self.new_lines.split(line.decode(errors="replace"))[0]
                _tell_of_gap(self.new_lines, self.pod_manager.log)
                if is_new:
                    yield line
        finally:
            self.pod_manager.has_more_lines = False

    def _extract_log_items(  # type: ignore[override]  # a static method there, that is called on the instance
        self, incomplete_log_item: list[bytes], log_items: list[bytes]
    ) -> Iterator[bytes]:
        """Yield the lines of a chunk; if they are many, the last ones alone are logged at once."""
        items = super()._extract_log_items(incomplete_log_item, log_items)
        last = len(log_items) - 2
        for number, item in enumerate(items):
            self.pod_manager.has_more_lines = last > FEW_LINES and number < last
            yield item
        # Its last lines may have been empty.
        self.pod_manager.flush_lines()


class OncePodManager(PodManager):
    """KubernetesPodOperator's pod manager, that logs each line once and as soon as it is there.

    :param base_container_name: the container whose end is the end of the work
    """

    def __init__(self, *args: Any, base_container_name: str = "base", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.base_container_name = base_container_name
        self._native_sidecars: list[str] = []
        self.has_more_lines = False
        self._new_lines: dict[tuple[str, str], NewLines] = {}
        self._batch = _Batch()

    def read_pod_logs(
        self,
        pod: k8s.V1Pod,
        container_name: str,
        tail_lines: int | None = None,
        timestamps: bool = False,
        since_seconds: int | None = None,
        **kwargs: Any,
    ) -> PodLogsConsumer:
        """Read the log, leaving out what has come before."""
        new_lines = self._new_lines_of(pod, container_name)
        kwargs["_request_timeout"] = (CONNECT_SECONDS, SECONDS_OF_SILENCE)
        kwargs["post_termination_timeout"] = SECONDS_AFTER_END
        logs: PodLogsConsumer = super().read_pod_logs(
            pod, container_name, tail_lines, timestamps, since_seconds, **kwargs
        )
        if not timestamps:
            return logs
        consumer = _NewLinesConsumer(
            response=cast("HTTPResponse", _Ahead(logs.response)),
            pod=pod,
            pod_manager=self,
            container_name=container_name,
            post_termination_timeout=logs.post_termination_timeout,
        )
        consumer.new_lines = new_lines
        return consumer

    def _log_message(
        self,
        message: str,
        container_name: str,
        container_name_log_prefix_enabled: bool,
        log_formatter: Callable[[str, str], str] | None,
    ) -> None:
        """Log a line as KubernetesPodOperator does, but many at once where they come so fast."""

        def log(text: str) -> None:
            super(OncePodManager, self)._log_message(
                text, container_name, container_name_log_prefix_enabled, log_formatter
            )

        if log_formatter or _STANDS_ALONE.match(message):
            self._batch.flush()
            log(message)
            return
        # KubernetesPodOperator puts it before the first one.
        prefix = f"[{container_name}] " if container_name_log_prefix_enabled else ""
        self._batch.add(message, prefix=prefix, more=self.has_more_lines, log=log)

    def flush_lines(self) -> None:
        """Log the lines that were kept for a record with many."""
        self._batch.flush()

    def create_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """Create a pod; one that an attempt of this very create has made is taken, and no other of that name.

        :raises SkyDeploymentError: if Kubernetes refuses the pod for good
        :raises SkyTransientError: if a quota is used up, or another task has a pod of that name
        """
        pod.metadata.annotations = {**(pod.metadata.annotations or {}), CREATE_ANNOTATION: secrets.token_hex(16)}
        try:
            return super().create_pod(pod)
        except ApiException as error:
            if refusal := refused_pod(error, pod.metadata.namespace):
                # From None, or Airflow would log what ApiException says of it as well.
                raise refusal from None
            raise

    def run_pod_async(self, pod: k8s.V1Pod, **kwargs: Any) -> k8s.V1Pod:
        """Make one attempt to create a pod; KubernetesPodOperator's own logs whatever fails, with the whole pod."""
        body = self._client.api_client.sanitize_for_serialization(pod)
        try:
            return self._client.create_namespaced_pod(body=body, namespace=pod.metadata.namespace, **kwargs)
        except ApiException as error:
            if error.status != 409:
                raise
            try:
                there = self.read_pod(pod)
            except ApiException:
                raise error from None
            if (there.metadata.annotations or {}).get(CREATE_ANNOTATION) != pod.metadata.annotations[CREATE_ANNOTATION]:
                raise
            return there

    def resume(self, pod: k8s.V1Pod, container_name: str, since: str | None) -> None:
        """Take all lines up to a timestamp of :attr:`NewLines.last` as known."""
        self._new_lines[(pod.metadata.uid, container_name)] = NewLines(since)

    def replace(self, before: OncePodManager) -> None:
        """Go on where another pod manager was, for example one with credentials that have expired."""
        self._new_lines = before._new_lines
        self._native_sidecars = before._native_sidecars

    def note_position(self, pod: k8s.V1Pod, container_name: str) -> None:
        """Note on a pod how far its log has been read, for the try that goes on with it."""
        read = self._new_lines.get((pod.metadata.uid, container_name))
        if read and read.last:
            body = {"metadata": {"annotations": {POSITION_ANNOTATION: read.last}}}
            self._client.patch_namespaced_pod(pod.metadata.name, pod.metadata.namespace, body)

    def fetch_requested_init_container_logs(
        self, pod: k8s.V1Pod, init_containers: Iterable[str] | str | Literal[True] | None, *args: Any, **kwargs: Any
    ) -> list[PodLoggingStatus]:
        """Follow the logs of init containers; one that runs beside the base container is read when that has ended."""
        never_ends = {container.name for container in pod.spec.init_containers or [] if _is_native_sidecar(container)}
        requested = _names(init_containers, self.get_init_container_names(pod))
        self._native_sidecars = [name for name in requested if name in never_ends]
        return super().fetch_requested_init_container_logs(
            pod, [name for name in requested if name not in never_ends], *args, **kwargs
        )

    def fetch_requested_container_logs(
        self,
        pod: k8s.V1Pod,
        containers: Iterable[str] | str | Literal[True],
        follow_logs: bool = False,
        container_name_log_prefix_enabled: bool = True,
        log_formatter: Callable[[str, str], str] | None = None,
    ) -> list[PodLoggingStatus]:
        """Follow the base container; when it has ended, log what the others have written: they may never end."""
        options: dict[str, Any] = {
            "container_name_log_prefix_enabled": container_name_log_prefix_enabled,
            "log_formatter": log_formatter,
        }
        base = self.base_container_name
        requested = _names(containers, self.get_container_names(pod))
        statuses: list[PodLoggingStatus] = []
        if base in requested:
            statuses += super().fetch_requested_container_logs(pod, [base], follow_logs, **options)
        elif follow_logs:
            self.await_container_completion(pod, base, SECONDS_BETWEEN_LOOKS)
        try:
            # KubernetesPodOperator reads the pod for an empty list too, and an evicted one is gone by now.
            if others := [name for name in requested if name != base]:
                statuses += super().fetch_requested_container_logs(pod, others, **options)
            statuses += [self.fetch_container_logs(pod, name, **options) for name in self._native_sidecars]
        except HTTPError as error:
            self.log.warning("The logs of the other containers cannot be read: %s", error)
        except ApiException as error:
            self.log.warning("The logs of the other containers cannot be read: %s", api_message(error))
        return statuses

    def fetch_container_logs(
        self,
        pod: k8s.V1Pod,
        container_name: str,
        *,
        follow: bool = False,
        since_time: Any = None,
        post_termination_timeout: int = SECONDS_AFTER_END,
        container_name_log_prefix_enabled: bool = True,
        log_formatter: Callable[[str, str], str] | None = None,
    ) -> PodLoggingStatus:
        """Log each line when it comes: KubernetesPodOperator keeps it back until there is another one.

        A log that was followed is read once more when its container has ended, for the connection may have broken.
        """
        del post_termination_timeout  # it is the same for all reads

        def log(line: str, moment: DateTime | None) -> None:
            for callback in self._callbacks:
                callback.progress_callback(
                    line=line,
                    client=self._client,
                    mode=ExecutionMode.SYNC,
                    container_name=container_name,
                    timestamp=moment,
                    pod=pod,
                )
            self._log_message(line, container_name, container_name_log_prefix_enabled, log_formatter)

        told = ""
        while follow:
            error = self._log_what_is_new(pod, container_name, since_time, follow=True, log=log)
            if not self.container_is_running(pod, container_name):
                break
            if isinstance(error, SilenceError):
                # It was silent: a line may come at any moment.
                continue
            if error and told != (told := str(error)):
                self.log.warning("The log of pod %s cannot be read, trying again: %s", pod.metadata.name, error)
            time.sleep(SECONDS_BETWEEN_READS)
        if error := self._log_what_is_new(pod, container_name, since_time, follow=False, log=log):
            self.log.warning("The log of pod %s could not be read to its end: %s", pod.metadata.name, error)
        return PodLoggingStatus(
            running=not follow and self.container_is_running(pod, container_name),
            last_log_time=_as_date_time(self._new_lines_of(pod, container_name).last),
        )

    def _log_what_is_new(
        self,
        pod: k8s.V1Pod,
        container_name: str,
        since_time: Any,
        *,
        follow: bool,
        log: Callable[[str, DateTime | None], None],
    ) -> HTTPError | None:
        """Read a log through one connection until that ends; return why, if it broke or was silent."""
        since = self._new_lines_of(pod, container_name).last or since_time
        try:
            for line in self.read_pod_logs(
                pod, container_name, timestamps=True, since_seconds=seconds_since(since), follow=follow
            ):
                stamp, text = _stamp_and_text(line.decode(errors="backslashreplace").rstrip("\n"))
                if text:
                    # Only callbacks ask for it, and it takes its time.
                    log(text, _as_date_time(stamp) if self._callbacks else None)
        except HTTPError as error:
            return error
        return None

    def _new_lines_of(self, pod: k8s.V1Pod, container_name: str) -> NewLines:
        return self._new_lines.setdefault((pod.metadata.uid, container_name), NewLines())


def _names(requested: Iterable[str] | str | Literal[True] | None, there: list[str]) -> list[str]:
    """Return the containers whose logs are asked for, in KubernetesPodOperator's ways to say which."""
    if requested is True:
        return there
    return [requested] if isinstance(requested, str) else list(requested or ())


def _is_native_sidecar(container: k8s.V1Container) -> bool:
    return bool(container.restart_policy == "Always")


class OnceAsyncPodManager(AsyncPodManager):
    """The triggerer's pod manager: it follows the log, and logs each line once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.new_lines = NewLines()
        self._batch = _Batch()

    def resume(self, since: str | None) -> None:
        """Take all lines up to a timestamp of :attr:`NewLines.last` as known."""
        self.new_lines = NewLines(since)

    async def fetch_container_logs_before_current_sec(  # type: ignore[override]  # the trigger only hands it on
        self, pod: k8s.V1Pod, container_name: str, since_time: DateTime | str | None = None
    ) -> str | None:
        """Note on the pod how far its log has been read, for a triggerer that takes over; return it.

        The log itself comes by :meth:`follow`.
        """
        del container_name, since_time
        last = self.new_lines.last
        if last and last != read_up_to(pod, None):
            try:
                await asyncio.wait_for(log_is_taken(), SECONDS_TO_NOTE)
                async with self._hook.get_conn() as connection:
                    await async_client.CoreV1Api(connection).patch_namespaced_pod(
                        name=pod.metadata.name,
                        namespace=pod.metadata.namespace,
                        body={"metadata": {"annotations": {POSITION_ANNOTATION: last}}},
                    )
            except (ClientError, TimeoutError, OSError, async_client.ApiException) as error:
                self.log.debug("It cannot be noted how far the log of pod %s is read: %s", pod.metadata.name, error)
        return last or None

    async def follow(self, pod: k8s.V1Pod, container_name: str, is_over: asyncio.Event) -> None:
        """Log what is new until the container has ended, a piece at a time, over breaks of the connection.

        :param is_over: set when the container has ended: what is there then is read, and that is all
        """
        told = ""
        while True:
            was_over = is_over.is_set()
            try:
                must_pause = not await self._follow_once(pod, container_name, ends=was_over)
            except (ClientError, TimeoutError, OSError, async_client.ApiException) as error:
                must_pause = True
                if told != (told := str(error)):
                    self.log.warning("The log of pod %s cannot be read, trying again: %s", pod.metadata.name, error)
            if was_over:
                # If it could not be read, the worker will.
                await log_is_taken()
                return
            if must_pause:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), SECONDS_BETWEEN_READS)

    async def _follow_once(self, pod: k8s.V1Pod, container_name: str, *, ends: bool) -> bool:
        """Read the log through one connection until that ends or is silent.

        :returns: whether to read on at once, because there was something new or the silence was pause enough
        """
        since_seconds = seconds_since(self.new_lines.last)
        before = self.new_lines.last
        async with self._hook.get_conn() as connection:
            arguments = {} if since_seconds is None else {"since_seconds": since_seconds}
            response: Any = await async_client.CoreV1Api(connection).read_namespaced_pod_log(
                name=pod.metadata.name,
                namespace=pod.metadata.namespace,
                container=container_name,
                follow=not ends,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, SECONDS_OF_SILENCE),
                **arguments,  # type: ignore[arg-type]  # the checker takes them for any of the parameters
            )
            async with response:
                if response.status >= 400:
                    raise async_client.ApiException(status=response.status, reason=response.reason)
                self.new_lines.start()
                splitter = LineSplitter()
                try:
                    while piece := await response.content.readany():
                        await asyncio.to_thread(self._log_new, splitter.feed(piece), container_name)
                except SocketTimeoutError:
                    return True
        # A line that was cut off comes again, unless this was the end.
        if splitter.begun and ends:
            self._log_new([splitter.begun], container_name)
        return self.new_lines.last != before

    def _log_new(self, lines: list[bytes], container_name: str) -> None:
        prefix = f"[{container_name}] "
        for line in lines:
            is_new, text = self.new_lines.split(line.decode(errors="replace"))
            _tell_of_gap(self.new_lines, self.log)
            if is_new and text.strip():
                self._batch.add(
                    text,
                    prefix=prefix,
                    more=len(lines) > FEW_LINES,
                    log=lambda text: self.log.info("%s%s", prefix, text),
                )
        self._batch.flush()
