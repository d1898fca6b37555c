"""Checks of arguments that several operators have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.task import TO_BE_RENDERED

# SkyPilot's own rule (sky/skylet/constants.py: CLUSTER_NAME_VALID_REGEX).
_CLUSTER_NAME = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")


def check_cluster_name(name: object) -> None:
    """Check a cluster's name as SkyPilot does; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if SkyPilot would refuse it
    """
    if isinstance(name, str) and not TO_BE_RENDERED.search(name) and not _CLUSTER_NAME.fullmatch(name):
        raise SkyRequestError(
            f"cluster_name: {name!r} must start with a letter, end with a letter or digit, "
            "and have only letters, digits, '-', '_' and '.' between"
        )


def rendered_cluster_name(name: object) -> str:
    """Return a cluster's name after Jinja and XCom.

    :raises SkyRequestError: if it is no name, or one that SkyPilot would refuse
    """
    if not isinstance(name, str):
        raise SkyRequestError(f"cluster_name: {name!r} is no name; did the task that it comes from return one?")
    check_cluster_name(name)
    return name


def rendered_envs(envs: object) -> dict[str, str]:
    """Return environment variables after Jinja and XCom, all of them texts.

    :raises SkyRequestError: if they are no mapping, or one has no proper name or no value
    """
    if envs is None:
        return {}
    if not isinstance(envs, Mapping):
        raise SkyRequestError(f"envs: must be a mapping, not {type(envs).__name__}")
    for name, value in envs.items():
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", str(name)):
            raise SkyRequestError(f"envs: {name!r} is not a name of an environment variable")
        if value is None:
            raise SkyRequestError(f"envs: {name} has no value; use an empty string for none")
    return {str(name): str(value) for name, value in envs.items()}
