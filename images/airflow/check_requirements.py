"""Fails the build of the Airflow image where its base has older packages than this provider needs."""  # noqa: INP001 - a script

from __future__ import annotations

import importlib.metadata
import sys

from packaging.requirements import Requirement

PROVIDER = "airflow-provider-skypilot-k8s"


def installed_version(name: str) -> str | None:
    """Give the version of a package, or None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def unmet_requirements() -> dict[Requirement, str | None]:
    """Give what this provider needs and does not find, with the version that there is."""
    requirements = [Requirement(line) for line in importlib.metadata.requires(PROVIDER) or []]
    installed = {requirement: installed_version(requirement.name) for requirement in requirements}
    return {
        requirement: version
        for requirement, version in installed.items()
        if version is None or not requirement.specifier.contains(version, prereleases=True)
    }


def main() -> None:
    """Name all that is missing or too old, and the ways out."""
    unmet = unmet_requirements()
    if not unmet:
        return
    found = [f"       {needed} is needed, it has {version or 'none'}" for needed, version in unmet.items()]
    install = " ".join(f'"{needed}"' for needed in unmet)
    sys.exit(
        "\n".join(
            [
                "error: the base of the Airflow image (AIRFLOW_BASE_IMAGE) is too old for this provider:",
                *found,
                "       name a newer base, or one of your own: FROM this base, RUN pip install " + install,
            ]
        )
    )


if __name__ == "__main__":
    main()
