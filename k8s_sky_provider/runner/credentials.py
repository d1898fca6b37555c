"""Mounted credentials -> what the clouds' own programs, which SkyPilot calls, can work with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from k8s_sky_provider.protocol import read_json

_COPIED = {".azure": "AZURE_CONFIG_DIR", ".config/gcloud": "CLOUDSDK_CONFIG"}
"""Directory below the home -> the variable that moves it. az and gcloud write there, and a mount is read-only."""

_GCLOUD_SECONDS = 60.0


def prepare(home: Path) -> None:
    """Give az and gcloud a writable copy of their mounted files, and log gcloud in with a service account's key.

    What goes wrong here is only printed: SkyPilot says what it lacks, if this task needs that cloud at all.
    """
    for directory, variable in _COPIED.items():
        mount = home / directory
        if mount.is_dir() and not os.access(mount, os.W_OK):
            os.environ[variable] = str(_copy(mount))
    _log_in_to_gcloud(Path(os.environ.get("CLOUDSDK_CONFIG", home / ".config" / "gcloud")))


def _copy(mount: Path) -> Path:
    copy = Path(tempfile.mkdtemp(prefix="credentials-"))
    for entry in mount.iterdir():
        # The kubelet's own `..data` is where the files that it shows really are.
        if entry.is_file() and not entry.name.startswith(".."):
            target = copy / entry.name
            shutil.copyfile(entry, target)
            target.chmod(0o600)
    return copy


def _log_in_to_gcloud(directory: Path) -> None:
    key = directory / "application_default_credentials.json"
    gcloud = shutil.which("gcloud")
    if gcloud is None or not key.is_file() or (directory / "credentials.db").exists():
        return
    try:
        if read_json(key.read_text()).get("type") != "service_account":
            return
        subprocess.run(  # noqa: S603  # a program of the image, no shell
            [gcloud, "auth", "activate-service-account", "--quiet", f"--key-file={key}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_GCLOUD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        print(f"gcloud does not take the service account's key: {error.stderr.strip()}")
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired) as error:
        print(f"gcloud cannot be logged in: {error}")
