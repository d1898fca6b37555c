"""What the operators (in Airflow) and the runner (in the pod) say to each other.

The operator puts one :class:`SkyRequest` as JSON into the pod's arguments; the runner puts one
:class:`SkyResult` as JSON into the container's termination message and ends with an
:class:`ExitCode`. This is the only module that both halves import, so it uses the standard
library alone.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import zlib
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection

    from _typeshed import DataclassInstance

PROTOCOL_VERSION = 3
"""Raised whenever a request or result changes in a way that the other half must know."""

READABLE_RESULTS = frozenset({1, 2, PROTOCOL_VERSION})
"""Versions whose results Airflow's half reads: a pod may outlive an upgrade."""

TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes: Kubernetes keeps this much of a container's termination message."""

PACKABLE = 4_000_000
"""Characters of JSON: zlib packs nothing that is longer into a termination message, and takes seconds to find out."""

RETURN_VALUE_LIMIT = 3500
"""Bytes of JSON: what the rest of a result leaves for a value that must arrive whole."""

DEEPEST_VALUE = 50
"""How deep lists and dicts of a value may be nested: whoever copies one needs some of the stack for each level."""

LONGEST_PATH = 4096
"""Characters of a path: Linux takes no longer one."""

LONGEST_NAME = 200
"""Characters of a name in a result that is too long: none that SkyPilot accepts has more."""

OWNER_KEYS = ("dag_id", "run_id", "task_id", "map_index")
"""What a status says of a cluster's :class:`Owner`, and what is asked by when clusters are reaped."""

LOG_PACE = "K8S_SKY_LOG_BYTES_PER_SECOND"
"""Environment variable of the pod: how fast it prints for long, in bytes a second; 0 for as fast as it can."""

DEFERRED_LOG_PACE = 64 * 1024
"""The same while a triggerer reads: Airflow's takes 4 KiB from all of its triggers, then looks into its database."""

POD_DIRECTORIES = "K8S_SKY_POD_DIRECTORIES"
"""Environment variable of the pod: where something is mounted that is gone with it, as PATH has directories."""

KILL_ANNOTATION = "k8s-sky/kill"
"""Annotation of a pod that somebody wants the end of: :func:`kill_word`. A pod that ends without it is evicted."""

TRY_ANNOTATION = "k8s-sky/try"
"""Annotation of a pod: the number of the try that follows it. What an earlier try said of it counts no more."""

TRIES_LEFT_ANNOTATION = "k8s-sky/tries-left"
"""Annotation of a pod: how many tries of its task come after the one that follows it."""

REQUEST_LIMIT = 120_000
"""Bytes: Linux refuses a single argument of 128 KiB or more."""

YAML_LIMIT = 4 * REQUEST_LIMIT
"""Characters of a YAML file, comments and all: its parser takes seconds for more."""

POD_ACCESS_DIRECTORY = "/etc/k8s-sky/pod"
"""Where the pod mounts what it takes to read its own annotations: ``token`` and ``ca.crt`` of the Kubernetes API."""

POD_NAME = "K8S_SKY_POD_NAME"
"""Environment variable of the pod: its name."""

POD_NAMESPACE = "K8S_SKY_POD_NAMESPACE"
"""Environment variable of the pod: its namespace."""

SECRETS_DIRECTORY = "/etc/k8s-sky/secrets"
"""Where the pod mounts Secrets that are also its environment: the runner masks their values in logs."""

LOCAL_FILES_MOUNT = "/etc/k8s-sky/files"
"""Where the pod mounts the archive of the files that travel with its task, in parts."""

LOCAL_FILES_DIRECTORY = "/tmp/k8s_sky_files"  # noqa: S108  # the pod's own
"""Where the runner unpacks it, and where the request's task has its paths."""

STATE_SECRETS = ("sky-database", "sky-api-token", "sky-api-endpoint", "sky-connection")
"""Directories there whose content is for the runner alone: what it takes to get at SkyPilot's state, and what is masked
of connections. The others are those of ``credentials``."""

_RESULT_FIELDS: dict[str, tuple[type, ...]] = {
    "action": (str,),
    "exit_code": (int,),
    "reason": (str,),
    "error": (str, type(None)),
    "cluster_name": (str, type(None)),
    "job_id": (int, type(None)),
    "job_status": (str, type(None)),
    "job_exit_codes": (list,),
    "log_tail": (list,),
    "truncated": (bool,),
    "whole_result": (str, type(None)),
}
_CLEARED = " cleared"
_PACKED = "packed"
"""Key of a result that is packed: zlib, in base 85."""

JsonValue = Any

_Dataclass = TypeVar("_Dataclass", bound="DataclassInstance")


class ProtocolError(ValueError):
    """A request or result that does not follow the protocol; the text names the field."""


class ExitCode(enum.IntEnum):
    """How a runner ended. Any code that is not listed means that the cause is unknown."""

    OK = 0
    REQUEST_WRONG = 64
    JOB_FAILED = 65
    SETUP_FAILED = 66
    RESOURCES_UNAVAILABLE = 69
    INTERNAL_ERROR = 70
    TRY_AGAIN = 75
    CREDENTIALS_REFUSED = 77
    DEPLOYMENT_WRONG = 78
    EVICTED = 79
    CANCELLED = 143


class OnCancel(enum.StrEnum):
    """What the runner does with a job and its cluster when its pod is told to stop."""

    CANCEL = "cancel"
    DOWN = "down"
    STOP = "stop"
    LEAVE = "leave"


class OnEviction(enum.StrEnum):
    """What becomes of a job and its cluster when a pod of the task is evicted, and a try is left to go on with them."""

    FOLLOW = "follow"
    KILL = "kill"


def read_json(text: str | bytes) -> JsonValue:
    """Return what JSON from outside means.

    :raises ValueError: if it is no JSON, nested too deep or has a number of too many digits
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def is_too_deep(value: JsonValue) -> bool:
    """Tell whether lists and dicts are nested deeper than :data:`DEEPEST_VALUE`."""
    level = [value]
    for _ in range(DEEPEST_VALUE + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, tuple, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def is_storable(value: JsonValue) -> bool:
    """Tell whether all numbers of a value, which is not too deep, are finite: databases take no others as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _storable(value: JsonValue) -> JsonValue:
    """Return a value whose texts a database takes: without NUL characters and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    return value


def kill_word(try_number: int, *, is_cleared: bool = False) -> str:
    """Return what :data:`KILL_ANNOTATION` says of a pod whose end a try of the task wants.

    :param is_cleared: whether the task was cleared while it ran: Airflow makes no new generation of it then
    """
    return f"{try_number}{_CLEARED}" if is_cleared else str(try_number)


def read_kill_word(word: str) -> tuple[str, bool]:
    """Return the try's number, and whether the task was cleared, of what :func:`kill_word` has made."""
    return word.removesuffix(_CLEARED), word.endswith(_CLEARED)


def _from_mapping(cls: type[_Dataclass], name: str, data: JsonValue) -> _Dataclass:
    """Build a dataclass from decoded JSON; unknown keys are an error, missing ones take their default."""
    if not isinstance(data, dict):
        raise ProtocolError(f"{name} must be an object, not {type(data).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ProtocolError(f"{name} has unknown fields: {', '.join(unknown)}")
    required = {
        key
        for key, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(data))
    if missing:
        raise ProtocolError(f"{name} lacks the fields: {', '.join(missing)}")
    return cls(**data)


def _load_versioned(
    name: str, text: str, other_half: str, versions: Collection[int] = (PROTOCOL_VERSION,)
) -> dict[str, JsonValue]:
    try:
        data = read_json(text)
    except ValueError as error:
        raise ProtocolError(f"{name} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ProtocolError(f"{name} must be an object, not {type(data).__name__}")
    version = data.pop("protocol", None)
    if version not in versions:
        raise ProtocolError(
            f"{name} is of protocol version {version!r}, this side speaks {PROTOCOL_VERSION}: "
            f"{other_half} was built from another version of k8s_sky_provider; use the same version on both sides"
        )
    return data


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """Who asks: the task instance and the deployment it belongs to.

    :param generation: changes when the task is cleared or its run is made anew, and not when it is retried
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    generation: str = ""

    @property
    def task_instance(self) -> tuple[str, str, str, str, int]:
        """The identity that stays the same over retries."""
        return (self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOverrides:
    """What an operator's arguments say over the task YAML, as the options of SkyPilot's command line do.

    :param resources: keys of the task's ``resources`` -> value
    :param default_resources: the same, for keys that neither the task nor ``resources`` has
    :param num_nodes: number of nodes
    :param job_name: the job's name
    :param job_suffix: what its name ends with, to find it again
    :param workdir: directory in the pod, or ``{"url": repository, "ref": branch, tag or commit}``
    :param file_mounts: path on the cluster -> path in the pod or URL of a bucket
    :param envs: environment variables, over those of the task
    :param env_file: dotenv file on the volume with more of them
    :param secrets: names of secrets, whose values the pod has in its environment
    :param secret_file: dotenv file on the volume with more secrets
    :param config: SkyPilot configuration over that of its file
    """

    resources: dict[str, JsonValue] = dataclasses.field(default_factory=dict)
    default_resources: dict[str, JsonValue] = dataclasses.field(default_factory=dict)
    num_nodes: int | None = None
    job_name: str | None = None
    job_suffix: str | None = None
    workdir: str | dict[str, str] | None = None
    file_mounts: dict[str, str] = dataclasses.field(default_factory=dict)
    envs: dict[str, str] = dataclasses.field(default_factory=dict)
    env_file: str | None = None
    secrets: list[str] = dataclasses.field(default_factory=list)
    secret_file: str | None = None
    config: dict[str, JsonValue] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkyRequest:
    """One action for the runner.

    :param action: name of a function in ``runner/actions.py``
    :param arguments: the action's own arguments, JSON values
    :param owner: the task instance that asks
    :param on_cancel: one of :class:`OnCancel`; None where there is nothing to undo
    :param on_eviction: one of :class:`OnEviction`
    :param expected_mounts: path in the pod -> what should be mounted there, for the error when it is not
    :param allow_network_file_system: accept SkyPilot's SQLite state on a network file system
    :param local_files: SHA-256 of the archive of files that travel with the task; None if there are none
    """

    action: str
    arguments: dict[str, JsonValue]
    owner: Owner
    on_cancel: OnCancel | None = None
    on_eviction: OnEviction = OnEviction.FOLLOW
    expected_mounts: dict[str, str] = dataclasses.field(default_factory=dict)
    allow_network_file_system: bool = False
    local_files: str | None = None

    def to_argument(self) -> str:
        """Return the JSON that becomes the container's argument.

        Every ``$`` is written as an escape, because Kubernetes expands ``$(NAME)`` in arguments, and so is half of a
        surrogate pair, which UTF-8 does not know.

        :raises ProtocolError: if it is longer than :data:`REQUEST_LIMIT` bytes
        """
        data = {"protocol": PROTOCOL_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(data, ensure_ascii=False).replace("$", "\\u0024")
        text = text.encode(errors="backslashreplace").decode()
        if (size := len(text.encode())) > REQUEST_LIMIT:
            raise ProtocolError(
                f"the request is {size} bytes long and a pod's argument can have {REQUEST_LIMIT}: "
                "put the task YAML on the volume and give its path there"
            )
        return text

    @classmethod
    def from_argument(cls, text: str) -> Self:
        """Read what :meth:`to_argument` wrote.

        :raises ProtocolError: if it is not JSON, of another version, or has wrong fields
        """
        data = _load_versioned("the request", text, "the provider in Airflow")
        request = _from_mapping(cls, "the request", data)
        for field, kind in (("action", str), ("arguments", dict), ("expected_mounts", dict)):
            if not isinstance(getattr(request, field), kind):
                raise ProtocolError(f"the request's {field} must be of type {kind.__name__}")
        if not isinstance(request.local_files, (str, type(None))):
            raise ProtocolError("the request's local_files must be of type str")
        try:
            on_cancel = None if request.on_cancel is None else OnCancel(request.on_cancel)
        except ValueError as error:
            raise ProtocolError(f"the request's on_cancel: {error}") from error
        try:
            on_eviction = OnEviction(request.on_eviction)
        except ValueError as error:
            raise ProtocolError(f"the request's on_eviction: {error}") from error
        return dataclasses.replace(
            request,
            owner=_from_mapping(Owner, "the request's owner", request.owner),
            on_cancel=on_cancel,
            on_eviction=on_eviction,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkyResult:
    """How an action ended.

    :param action: the action that ran
    :param exit_code: one of :class:`ExitCode`, as the container ends with it
    :param return_value: what the next task wants, a JSON value
    :param reason: one line that says why it failed; empty when it did not
    :param error: SkyPilot's name of the error, such as ``ResourcesUnavailableError``
    :param cluster_name: the cluster that the action worked on
    :param job_id: the job that the action submitted or followed
    :param job_status: that job's last status, as SkyPilot names it
    :param job_exit_codes: the job's own exit codes, one for each node
    :param log_tail: the last lines of the log of an action that failed
    :param truncated: whether the value or the reason was cut to fit; the whole is in ``whole_result``
    :param whole_result: path on the volume of the uncut result
    """

    action: str
    exit_code: int
    return_value: JsonValue = None
    reason: str = ""
    error: str | None = None
    cluster_name: str | None = None
    job_id: int | None = None
    job_status: str | None = None
    job_exit_codes: list[int] = dataclasses.field(default_factory=list)
    log_tail: list[str] = dataclasses.field(default_factory=list)
    truncated: bool = False
    whole_result: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the result as JSON values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the result as one line of JSON, of any length."""
        data = _storable({"protocol": PROTOCOL_VERSION, **self.to_dict()})
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    def to_message(self) -> str:
        """Return what goes into the termination message: :meth:`to_json`, packed if it is too long as it is."""
        text = self.to_json()
        if len(text.encode()) <= TERMINATION_MESSAGE_LIMIT:
            return text
        packed = base64.b85encode(zlib.compress(text.encode(), level=9)).decode()
        return json.dumps({"protocol": PROTOCOL_VERSION, _PACKED: packed})

    def fits(self, limit: int = TERMINATION_MESSAGE_LIMIT) -> bool:
        """Tell whether :meth:`to_message` has at most ``limit`` bytes."""
        return len(self.to_json()) <= PACKABLE and len(self.to_message().encode()) <= limit

    def cut_to_fit(self, whole_result: str | None, limit: int = TERMINATION_MESSAGE_LIMIT) -> SkyResult:
        """Return a result of at most ``limit`` bytes: first the oldest log lines go, then the value, then the reason.

        A text is cut; of anything else nothing stays, for a part of a list would pass for the whole.

        :param whole_result: path on the volume where the uncut result is, if it could be kept
        """
        if self.fits(limit):
            return self
        log_tail = list(self.log_tail)
        while log_tail and not dataclasses.replace(self, log_tail=log_tail).fits(limit):
            del log_tail[: max(1, len(log_tail) // 8)]
        cut = dataclasses.replace(self, log_tail=log_tail)
        if cut.fits(limit):
            return cut
        cut = dataclasses.replace(cut, truncated=True, whole_result=whole_result)
        value = cut.return_value
        while isinstance(value, str) and value and not cut.fits(limit):
            value = value[: min(PACKABLE, len(value) * 7 // 8)]
            cut = dataclasses.replace(cut, return_value=value)
        if not cut.fits(limit):
            cut = dataclasses.replace(cut, return_value=None, job_exit_codes=[])
        while cut.reason and not cut.fits(limit):
            cut = dataclasses.replace(cut, reason=cut.reason[: min(PACKABLE, len(cut.reason) * 7 // 8)])
        if not cut.fits(limit):
            cut = dataclasses.replace(
                cut,
                action=cut.action[:LONGEST_NAME],
                error=cut.error and cut.error[:LONGEST_NAME],
                cluster_name=cut.cluster_name and cut.cluster_name[:LONGEST_NAME],
                job_status=cut.job_status and cut.job_status[:LONGEST_NAME],
            )
        return cut

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` or :meth:`to_message` wrote.

        :raises ProtocolError: if it is not JSON, of another version, or has wrong fields
        """
        data = _load_versioned("the result", text, "the image's runner", READABLE_RESULTS)
        if set(data) == {_PACKED}:
            try:
                text = zlib.decompress(base64.b85decode(data[_PACKED])).decode()
            except (ValueError, TypeError, AttributeError, zlib.error) as error:
                raise ProtocolError(f"the result cannot be unpacked: {error}") from error
            data = _load_versioned("the result", text, "the image's runner", READABLE_RESULTS)
        # Deeper ones are a value's; a runner of another version may have checked less.
        if any(map(is_too_deep, data.values())):
            raise ProtocolError(f"the result has lists and objects that are nested more than {DEEPEST_VALUE} deep")
        if not is_storable(data):
            raise ProtocolError("the result has NaN or an infinite number, which JSON has not")
        result = _from_mapping(cls, "the result", _storable(data))
        for field, kinds in _RESULT_FIELDS.items():
            value = getattr(result, field)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise ProtocolError(f"the result's {field} must be of type {wanted}, not {type(value).__name__}")
        for field, kind in (("log_tail", str), ("job_exit_codes", int)):
            if not all(type(item) is kind for item in getattr(result, field)):
                raise ProtocolError(f"the result's {field} must be a list of {kind.__name__}")
        return result
