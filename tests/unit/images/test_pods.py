"""The skypilot image is one that the operators' restricted pods can run."""

from __future__ import annotations

from pathlib import Path

DOCKERFILE = (Path(__file__).resolve().parents[3] / "images" / "skypilot" / "Dockerfile").read_text()


def test_skypilots_script_is_executable_and_has_its_old_date() -> None:
    """At run time nothing can make it so (runner/engine/rsync.py)."""
    made, dated = DOCKERFILE.index("chmod +x sky/utils/kubernetes/rsync_helper.sh"), DOCKERFILE.index("-exec touch -d")
    assert made < dated
