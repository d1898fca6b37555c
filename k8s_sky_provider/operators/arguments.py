"""Checks of arguments that several operators have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from airflow.providers.common.compat.sdk import redact

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.task import TO_BE_RENDERED
from k8s_sky_provider.protocol import LONGEST_PATH

# SkyPilot's own rule (sky/skylet/constants.py: CLUSTER_NAME_VALID_REGEX).
NAME = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")

_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "t", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "f", "n", "0"), False),
}

_GLOB = re.compile(r"[*?\[\]]")
_TEMPLATE_BEGINS = re.compile(r"(?={[{%])")
_TEMPLATE_ENDS = {"{{": "}}", "{%": "%}"}
_MASK = "***"
LONGEST_WORD = 11
"""Characters of what is masked within a word that is taken for one: ``training`` has the password ``train`` in it."""

_NAME_OR_GLOB = re.compile(r"[-_.a-zA-Z0-9*?\[\]^!]+")


def check_cluster_name(name: object) -> None:
    """Check a cluster's name as SkyPilot does; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if SkyPilot would refuse it
    """
    if isinstance(name, str) and not TO_BE_RENDERED.search(name):
        check_rendered_name("cluster_name", name)


def check_rendered_name(field: str, name: str) -> None:
    """Check a name of a cluster, service or pool after Jinja and XCom.

    :raises SkyRequestError: if SkyPilot would refuse it
    """
    if not NAME.fullmatch(name):
        raise SkyRequestError(
            f"{field}: {name!r} must start with a letter, end with a letter or digit, "
            "and have only letters, digits, '-', '_' and '.' between"
        )


def rendered_cluster_name(name: object) -> str:
    """Return a cluster's name after Jinja and XCom.

    :raises SkyRequestError: if it is no name, or one that SkyPilot would refuse
    """
    if not is_name(name):
        raise SkyRequestError(f"cluster_name: {shown(name)} is no name; did the task that it comes from return one?")
    check_rendered_name("cluster_name", name)
    return name


def is_name(value: object) -> TypeGuard[str]:
    """Tell whether a value is a name after Jinja, which writes ``None`` where there is none."""
    return isinstance(value, str) and value != "None"


def check_cluster_names(argument: str, names: object) -> None:
    """Check a cluster's name or glob, or several; what is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if one of them can be no cluster's name
    """
    for name in _each(names):
        if isinstance(name, str) and not TO_BE_RENDERED.search(name):
            _check_name_or_glob(argument, name)


def _check_name_or_glob(argument: str, name: str) -> None:
    if _GLOB.search(name):
        check_rendered_glob(argument, name)
    else:
        check_rendered_name(argument, name)


def check_rendered_glob(field: str, name: str) -> None:
    """Check a name, which may have wildcards, after Jinja and XCom.

    :raises SkyRequestError: if it has other characters than those
    """
    if not _NAME_OR_GLOB.fullmatch(name):
        raise SkyRequestError(
            f"{field}: {name!r} must have only letters, digits, '-', '_', '.' and the wildcards *, ? and []"
        )


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


def rendered_cluster_names(argument: str, names: object) -> str | list[str]:
    """Return a name or glob, or a list of them, after Jinja and XCom.

    :raises SkyRequestError: if it is neither, or one of them can be no cluster's name
    """
    if not isinstance(names, Sequence) or not all(map(is_name, [names] if isinstance(names, str) else names)):
        raise SkyRequestError(
            f"{argument}: must be a name or a list of names, not {shown(names)}; did the task it comes from return one?"
        )
    for name in _each(names):
        _check_name_or_glob(argument, str(name))
    return names if isinstance(names, str) else list(names)


def check_flags(**flags: object) -> None:
    """Check flags; those that are still to be rendered or come from XCom pass.

    :param flags: argument -> flag
    :raises SkyRequestError: if one is neither a bool nor a word for one
    """
    for name, value in flags.items():
        if is_known(value):
            as_flag(name, value)


def as_flag(name: str, value: object) -> bool:
    """Return a flag, which Jinja may have left as text.

    :raises SkyRequestError: if it is neither a bool nor a word for one
    """
    word = value.strip().lower() if isinstance(value, str) else shown(value).lower()
    flag = _FLAGS.get(word) if isinstance(value, (int, str)) else None
    if flag is None:
        raise SkyRequestError(
            f"{name}: {shown(value)} is no flag; give True or False, or as text one of {', '.join(_FLAGS)}"
        )
    return flag


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Check one of several texts; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if it is anything else
    """
    if is_known(value):
        as_choice(name, value, choices)


def as_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return one of several texts, after Jinja and XCom.

    :raises SkyRequestError: if it is none of them
    """
    for choice in choices:
        if value == choice:
            return choice
    raise SkyRequestError(f"{name}: {shown(value)} is not one of {', '.join(choices)}")


def check_whole_number(name: str, value: object, least: int = 1) -> None:
    """Check a whole number; None, one that is still to be rendered and one that comes from XCom pass.

    :raises SkyRequestError: if it is anything else, or below ``least``
    """
    if value is not None and is_known(value):
        as_whole_number(name, value, least)


def as_whole_number(name: str, value: object, least: int = 1) -> int:
    """Return a whole number, which Jinja may have left as text.

    :raises SkyRequestError: if it is none, or below ``least``
    """
    number = _as_int(value)
    if number is None or number < least:
        raise SkyRequestError(f"{name}: {shown(value)} is not a whole number from {least} up")
    return number


def _as_int(value: object) -> int | None:
    """Return a whole number from 0 up of an int or a text; Python reads and writes none of more than 4300 digits."""
    try:
        text = str(value) if isinstance(value, (int, str)) else ""
        return int(text) if re.fullmatch(r"[0-9]+", text) else None
    except ValueError:
        return None


def shown(value: object) -> str:
    """Return a value as an error shows it."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def rendered_envs(envs: object, field: str = "envs") -> dict[str, str]:
    """Return environment variables after Jinja and XCom, all of them texts.

    :param field: the operator's argument
    :raises SkyRequestError: if they are no mapping, or one has no proper name or no value
    """
    if envs is None:
        return {}
    if not isinstance(envs, Mapping):
        raise SkyRequestError(f"{field}: must be a mapping, not {type(envs).__name__}")
    for name, value in envs.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise SkyRequestError(f"{field}: {shown(name)} is not a name of an environment variable")
        if value is None:
            raise SkyRequestError(f"{field}: {name} has no value; use an empty string for none")
    try:
        return {name: str(value) for name, value in envs.items()}
    except ValueError as error:
        raise SkyRequestError(f"{field}: a value cannot be written: {error}") from error


def check_number(name: str, value: object) -> None:
    """Check a number above 0; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if it is anything else
    """
    if value is not None and is_known(value):
        as_number(name, value)


def as_number(name: str, value: object) -> float:
    """Return a number above 0, which Jinja may have left as text.

    :raises SkyRequestError: if it is none
    """
    try:
        number = 0.0 if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # the error is caught
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise SkyRequestError(f"{name}: {shown(value)} is not a number above 0")
    return number


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


def rendered_text(name: str, value: object) -> str | None:
    """Return a text after Jinja and XCom, or None.

    :raises SkyRequestError: if it is neither
    """
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise SkyRequestError(f"{name}: must be a text, not {shown(value)}")


def rendered_names(name: str, value: object) -> list[str] | None:
    """Return a name or a list of names, after Jinja and XCom, as a list; None for None.

    :raises SkyRequestError: if one of them is no text
    """
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    # What a mapped task returned is a sequence of its own kind.
    if not isinstance(names, Sequence) or not all(isinstance(item, str) and item for item in names):
        raise SkyRequestError(f"{name}: must be a name or a list of names, not {shown(value)}")
    return list(names)


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


def listed(value: Any) -> list[Any]:
    """Return one value or several as a list; None as an empty one."""
    if value is None:
        return []
    # What a mapped task returned is a sequence of its own kind.
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def check_path(field: str, path: object) -> None:
    """Check a path; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if it is none
    """
    if is_known(path):
        rendered_path(field, path)


def rendered_path(field: str, path: object) -> str:
    """Return a path after Jinja and XCom.

    :raises SkyRequestError: if it is no text, empty, or has a line end
    """
    if not isinstance(path, str) or not path.strip() or "\n" in path or "\0" in path:
        raise SkyRequestError(f"{field}: {shown(path)} is not a path")
    if len(path) > LONGEST_PATH:
        raise SkyRequestError(f"{field}: has {len(path)} characters, and a path has at most {LONGEST_PATH}")
    if re.match(r"~[^/]", path):
        raise SkyRequestError(f"{field}: {path!r} names another user's home; '~' alone is the home, as in '~/data'")
    return path


def check_nodes(nodes: object) -> None:
    """Check which machines of a cluster are meant; what is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if it is neither ``head`` nor ``all`` nor a list of ranks
    """
    if all(is_known(item) for item in (nodes if isinstance(nodes, (list, tuple)) else [nodes])):
        as_nodes(nodes)


def as_nodes(nodes: object) -> str | list[int]:
    """Return which machines of a cluster are meant, after Jinja and XCom: ``head``, ``all`` or their ranks.

    :raises SkyRequestError: if it is none of them
    """
    if isinstance(nodes, str) and nodes in {"head", "all"}:
        return nodes
    given = nodes if isinstance(nodes, Sequence) and not isinstance(nodes, str) else []
    ranks = [rank for rank in map(_as_int, given) if rank is not None]
    if not ranks or len(set(ranks)) < len(given):
        raise SkyRequestError(
            f"nodes: {shown(nodes)} is neither 'head' nor 'all' nor a list of different ranks from 0 up"
        )
    return ranks


def is_known(value: object) -> bool:
    """Tell whether a value is neither still to be rendered nor comes from XCom or a parameter of the DAG."""
    return not hasattr(value, "iter_references") and not (isinstance(value, str) and TO_BE_RENDERED.search(value))
