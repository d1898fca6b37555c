"""One reader for each kind of value: what a DAG, Jinja or an XCom gives, as it goes to the runner.

A reader takes the name and the value of an argument. It returns the value, or raises a :class:`SkyRequestError` that
has both and the way out. It is the same when a DAG is parsed, by :func:`when_known`, and when all is rendered.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from airflow.providers.common.compat.sdk import redact

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.protocol import LONGEST_PATH

Reader = Callable[[str, Any], Any]

UNKNOWN: Final = object()
"""What is known of a value that Jinja or another task has yet to give."""

# SkyPilot's own rules (sky/skylet/constants.py: CLUSTER_NAME_VALID_REGEX; sky/task.py: _VALID_NAME_REGEX).
_NAME = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
_JOB_NAME = re.compile(r"[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*")

FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "t", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "f", "n", "0"), False),
}
"""The words for a flag."""

_TO_BE_RENDERED = re.compile(r"{[{%#]")
_GLOB = re.compile(r"[*?\[\]]")
_NAME_OR_GLOB = re.compile(r"[-_.a-zA-Z0-9*?\[\]^!]+")
_TEMPLATE_BEGINS = re.compile(r"(?={[{%])")
_TEMPLATE_ENDS = {"{{": "}}", "{%": "%}"}
_MASK = "***"
LONGEST_WORD = 11
"""Characters of what is masked within a word that is taken for one: ``training`` has the password ``train`` in it."""

LONGEST_SHOWN = 300
"""Characters of a value that an error shows."""


def has_jinja(text: str) -> bool:
    """Tell whether Jinja makes something else of a text."""
    return _TO_BE_RENDERED.search(text) is not None


def known_part(value: object) -> Any:
    """Return a template field's value without what Jinja, another task or a parameter of the DAG has yet to give."""
    if hasattr(value, "iter_references") or (isinstance(value, str) and has_jinja(value)):
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        items = [item for item in map(known_part, value) if item is not UNKNOWN]
        return UNKNOWN if value and not items else items
    return {key: known_part(item) for key, item in value.items()} if isinstance(value, dict) else value


def when_known(reader: Reader) -> Reader:
    """Return a reader for the moment when a DAG is parsed: of what is not known yet, it says just that."""

    def read(name: str, value: object) -> Any:
        known = known_part(value)
        return UNKNOWN if known is UNKNOWN else reader(name, known)

    return read


def is_given(value: object) -> bool:
    """Tell whether a value that was read is known, and not None."""
    return value is not None and value is not UNKNOWN


def optional(reader: Reader) -> Reader:
    """Return a reader that takes None, too."""
    return lambda name, value: None if value is None else reader(name, value)


def each(reader: Reader) -> Reader:
    """Return a reader of one value or several, as a list."""

    def read(name: str, value: object) -> list[Any]:
        # What a mapped task returned is a sequence of its own kind.
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return [reader(name, item) for item in several]

    return read


def flag(name: str, value: object) -> bool:
    """Read a flag: a bool, or a word for one."""
    word = value.strip().lower() if isinstance(value, str) else shown(value).lower()
    found = FLAGS.get(word) if isinstance(value, (int, str)) else None
    if found is None:
        raise SkyRequestError(
            f"{name}: {shown(value)} is no flag; give True or False, or as text one of {', '.join(FLAGS)}"
        )
    return found


def bare_flag(name: str, value: object) -> bool:
    """Read a flag that is not templated."""
    if not isinstance(value, bool):
        raise SkyRequestError(f"{name}: {shown(value)} must be True or False; it is not templated")
    return value


def one_of(choices: Iterable[str]) -> Reader:
    """Return a reader of one of several texts."""

    def read(name: str, value: object) -> str:
        for choice in choices:
            if value == choice:
                return choice
        raise SkyRequestError(f"{name}: {shown(value)} is not one of {', '.join(choices)}")

    return read


def whole_number(least: int = 1) -> Reader:
    """Return a reader of a whole number."""

    def read(name: str, value: object) -> int:
        found = whole(value)
        if found is None or found < least:
            raise SkyRequestError(f"{name}: {shown(value)} is not a whole number from {least} up")
        return found

    return read


def whole(value: object) -> int | None:
    """Return a whole number of an int or a text, None for none; Python reads none of more than 4300 digits."""
    try:
        text = str(value) if isinstance(value, (int, str)) else ""
        return int(text) if re.fullmatch(r"-?[0-9]+", text) else None
    except ValueError:
        return None


def number(name: str, value: object) -> float:
    """Read a number above 0."""
    try:
        found = 0.0 if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # the error is caught
    except (TypeError, ValueError, OverflowError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise SkyRequestError(f"{name}: {shown(value)} is not a number above 0")
    return found


def text(name: str, value: object) -> str:
    """Read a text; what Jinja writes where there is no value is none."""
    if not isinstance(value, str) or not value.strip() or value == "None":
        raise SkyRequestError(
            f"{name}: must be a text, not {shown(value)}; did the task that it comes from return one?"
        )
    return value


def text_or_number(name: str, value: object) -> str:
    """Read a text that may be a number, as ``4`` or ``4+``."""
    return (
        as_text(name, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else text(name, value)
    )


def as_text(name: str, value: object) -> str:
    """Read what a job gets as text: lists and dicts as JSON, and no Python."""
    try:
        if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, (str, bytes))):
            return json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)
        if isinstance(value, (str, int, float, dt.date)):
            return str(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise SkyRequestError(f"{name}: a value cannot be written: {error}") from error
    raise SkyRequestError(f"{name}: {shown(value)} is neither a text nor a number, nor a list or dict of them")


def _plain(value: object) -> Any:
    """Return what JSON does not know as something that it knows."""
    if isinstance(value, dt.date):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return list(value)
    raise TypeError(f"{shown(value)} is of type {type(value).__name__}")


def names(name: str, value: object) -> list[str]:
    """Read a name or several, as a list."""
    found = [value] if isinstance(value, str) else value
    # What a mapped task returned is a sequence of its own kind.
    if not isinstance(found, Sequence) or not all(map(_is_name, found)):
        raise SkyRequestError(
            f"{name}: must be a name or a list of names, not {shown(value)}; did the task it comes from return one?"
        )
    return list(found)


def some_names(name: str, value: object) -> list[str]:
    """Read a name or several, as a list that is not empty."""
    found = names(name, value)
    if not found:
        raise SkyRequestError(f"{name}: {shown(value)} names none; did the task that it comes from return one?")
    return found


def list_of_texts(name: str, value: object) -> list[str]:
    """Read a list of texts, one text being none."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        example = f", as [{shown(value)}]" if isinstance(value, str) else ""
        raise SkyRequestError(f"{name}: must be a list of texts{example}, not {shown(value)}")
    return list(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value != "None"


def cluster(name: str, value: object) -> str:
    """Read the name of a cluster, service or pool."""
    if not isinstance(value, str) or value == "None":
        raise SkyRequestError(f"{name}: {shown(value)} is no name; did the task that it comes from return one?")
    if not _NAME.fullmatch(value):
        raise SkyRequestError(
            f"{name}: {shown(value)} must start with a letter, end with a letter or digit, "
            "and have only letters, digits, '-', '_' and '.' between"
        )
    return value


def clusters(name: str, value: object) -> str | list[str]:
    """Read a name of a cluster, service or pool, which may have wildcards, or a list of them."""
    several: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not all(isinstance(one, str) and one != "None" for one in several):
        raise SkyRequestError(
            f"{name}: must be a name or a list of names, not {shown(value)}; did the task it comes from return one?"
        )
    for one in several:
        if not _GLOB.search(one):
            cluster(name, one)
        elif not _NAME_OR_GLOB.fullmatch(one):
            raise SkyRequestError(
                f"{name}: {shown(one)} must have only letters, digits, '-', '_', '.' and the wildcards *, ? and []"
            )
    return value if isinstance(value, str) else list(several)


def list_of_clusters(name: str, value: object) -> list[str]:
    """Read the same, as a list."""
    found = clusters(name, value)
    return [found] if isinstance(found, str) else found


def job_name(name: str, value: object) -> str:
    """Read the name of a job or task, of which SkyPilot makes folders."""
    if not isinstance(value, str) or value == "None" or not _JOB_NAME.fullmatch(value):
        raise SkyRequestError(
            f"{name}: {shown(value)} is no name of a job: it must have only letters, digits, and between them '-', '_' "
            "and '.', no more than two of them together"
        )
    return value


def path(name: str, value: object) -> str:
    """Read a path: a text without a line end, and not below another user's home."""
    if not isinstance(value, str) or not value.strip() or "\n" in value or "\0" in value:
        raise SkyRequestError(f"{name}: {shown(value)} is not a path")
    if len(value) > LONGEST_PATH:
        raise SkyRequestError(f"{name}: has {len(value)} characters, and a path has at most {LONGEST_PATH}")
    if re.match(r"~[^/]", value):
        raise SkyRequestError(f"{name}: {value!r} names another user's home; '~' alone is the home, as in '~/data'")
    return value


def nodes(name: str, value: object) -> str | list[int]:
    """Read which machines of a cluster are meant: ``head``, ``all`` or their ranks."""
    if isinstance(value, str) and value in {"head", "all"}:
        return value
    given = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    ranks = [rank for rank in map(whole, given) if rank is not None and rank >= 0]
    if not ranks or len(set(ranks)) < len(given):
        raise SkyRequestError(
            f"{name}: {shown(value)} is neither 'head' nor 'all' nor a list of different ranks from 0 up"
        )
    return ranks


def mapping(name: str, value: object) -> dict[str, Any]:
    """Read a mapping."""
    if not isinstance(value, Mapping):
        hint = "; of a dict from another task give its output, and no text with Jinja" if isinstance(value, str) else ""
        raise SkyRequestError(f"{name}: must be a mapping, not {type(value).__name__} ({shown(value)}){hint}")
    return {as_text(name, key): item for key, item in value.items()}


def variables(name: str, value: object) -> dict[str, str]:
    """Read environment variables, all of them texts."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        # Not shown: it may have a password in it.
        raise SkyRequestError(f"{name}: must be a mapping, not {type(value).__name__}")
    for key, item in value.items():
        if not isinstance(key, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key):
            raise SkyRequestError(f"{name}: {shown(key)} is not a name of an environment variable")
        if item is None:
            raise SkyRequestError(f"{name}: {key} has no value; use an empty string for none")
    return {key: as_text(f"{name}: {key}", item) for key, item in value.items() if item is not UNKNOWN}


def shown(value: object) -> str:
    """Return a value as an error shows it."""
    try:
        whole_text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return whole_text if len(whole_text) <= LONGEST_SHOWN else f"{whole_text[:LONGEST_SHOWN]}..."


def _each(names: object) -> Sequence[object]:
    return [names] if isinstance(names, str) else names if isinstance(names, Sequence) else ()


def written(names: object) -> tuple[str, ...]:
    """Return the texts of an argument that has names, as the author of the DAG has written them."""
    return tuple(name for name in _each(names) if isinstance(name, str))


def check_globs(argument: str, names: str | list[str], *, texts: Collection[str]) -> None:
    """Check that names have the wildcards that the author of the DAG has written, and no others.

    What comes from Jinja, an XCom or a mapped task means one thing, and not all that there is.

    :param texts: what :func:`written` said of the argument before it was rendered
    :raises SkyRequestError: if one of them has another wildcard
    """
    for name in _each(names):
        if isinstance(name, str) and _GLOB.search(name) and not any(_has_written(text, name) for text in texts):
            raise SkyRequestError(
                f"{argument}: {name!r} has a wildcard that comes from a template or an XCom, where one name is "
                "expected; write the wildcard into the DAG, outside of {{ }}"
            )


def _has_written(text: str, name: str) -> bool:
    """Tell whether a rendered text can have its wildcards from outside of what Jinja has put in."""
    parts = _outside_of_templates(text)
    wildcards = _GLOB.findall("".join(parts))
    if "{%" in text:
        # Whether a part is rendered, and how often, is for Jinja to say.
        return bool(wildcards)
    return name.startswith(parts[0]) and name.endswith(parts[-1]) and wildcards == _GLOB.findall(name)


def _outside_of_templates(text: str) -> list[str]:
    """Return the parts of a text that Jinja leaves; an end is looked for only where there is one to come."""
    ends = {begin: text.rfind(end) for begin, end in _TEMPLATE_ENDS.items()}
    parts, at = [], 0
    for found in _TEMPLATE_BEGINS.finditer(text):
        begin = text[found.start() : found.start() + 2]
        if at <= found.start() and found.start() + 2 <= ends[begin]:
            parts.append(text[at : found.start()])
            at = text.index(_TEMPLATE_ENDS[begin], found.start() + 2) + 2
    return [*parts, text[at:]]


def check_models(name: str, objects: object, kind: type) -> None:
    """Check a list of objects of Kubernetes' client, after Jinja. The values are not shown: they may be secret.

    :raises SkyRequestError: if it is no list of such objects
    """
    expected = f"a list of kubernetes.client.models.{kind.__name__}"
    if not isinstance(objects, (list, tuple)):
        raise SkyRequestError(f"{name}: must be {expected}, not of type {type(objects).__name__}")
    for number, one in enumerate(objects):
        # As KubernetesPodOperator does: what says that it can be turned into a model is.
        if not isinstance(one, (kind, Mapping)) and not hasattr(one, "to_k8s_client_obj"):
            raise SkyRequestError(f"{name}: must be {expected}; entry {number} is of type {type(one).__name__}")


def check_names_of_containers(name: str, value: object) -> None:
    """Check which containers' logs are asked for.

    :raises SkyRequestError: if it is neither True nor a name nor a list of names
    """
    names = value if isinstance(value, (list, tuple, set)) else [value]
    if not (value is None or isinstance(value, bool) or all(isinstance(one, str) for one in names)):
        raise SkyRequestError(f"{name}: {shown(value)} must be True, the name of a container or a list of names")


def check_carries_no_secret(arguments: Mapping[str, object]) -> None:
    """Check that no text of a request is one that Airflow masks: whoever may read pods can read requests.

    Airflow knows the passwords of connections and the values of variables with a sensitive name, once they are read.

    :raises SkyRequestError: if one is, or has one in it
    """
    for field, value in arguments.items():
        if any(map(_has_secret, _texts(value))):
            raise SkyRequestError(
                f"{field}: has a secret of an Airflow connection or variable in it, which everybody who may read pods "
                "could read. Name a Kubernetes Secret instead, whose keys are in the environment: "
                'credentials=[{"secret": ..., "env": True}]'
            )


def _has_secret(text: str) -> bool:
    """Tell whether Airflow would mask a part of a text; not a short one within a word, for a password may be a word."""
    text = text.replace(_MASK, " ")
    shown = str(redact(text))
    if shown == text:
        return False
    hidden = (len(text) - len(shown)) / max(1, shown.count(_MASK)) + len(_MASK)
    return hidden > LONGEST_WORD or re.search(rf"(?<!\w){re.escape(_MASK)}(?!\w)", shown) is not None


def _texts(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, (list, tuple)):
            waiting += one
