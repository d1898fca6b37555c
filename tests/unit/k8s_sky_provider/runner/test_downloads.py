"""What a machine sent is looked through, and nothing in it is followed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.runner import downloads

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    goal = tmp_path / "goal"
    (goal / "sub" / "deep").mkdir(parents=True)
    (goal / "sub" / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("keep me")
    return goal


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a", "sub/file"),
        ("a", "sub"),
        ("a", "."),
        ("a", "not there"),
        ("sub/a", "../sub/file"),
        ("sub/deep/a", "../../sub"),
        ("sub/deep/a", "../.."),
    ],
)
def test_a_link_that_stays_is_kept(goal: Path, link: str, target: str) -> None:
    (goal / link).symlink_to(target)
    assert downloads.tidy(goal, goal) == []
    assert (goal / link).is_symlink()


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", "GOAL/sub/file"),
        ("a", "../other"),
        ("a", ".."),
        ("a", "../goal/../other/file"),
        ("a", "sub/../../other"),
        ("sub/deep/a", "../../../other/file"),
        # It leads out as soon as another copy brings a link `later`.
        ("a", "later/../x"),
        ("a", "../goal-2"),
    ],
)
def test_one_that_leads_out_is_deleted_and_not_followed(goal: Path, link: str, target: str) -> None:
    (goal / link).symlink_to(target.replace("GOAL", str(goal)))
    assert downloads.tidy(goal, goal) == [goal / link]
    assert not (goal / link).is_symlink()
    assert (goal.parent / "other" / "file").read_text() == "keep me"


def test_one_that_leads_out_over_another_is_deleted_too(goal: Path) -> None:
    (goal.parent / "before").symlink_to(goal.parent / "other")
    (goal / "first").symlink_to("second/file")
    (goal / "second").symlink_to("../before")
    assert goal / "second" in downloads.tidy(goal, goal)
    assert not (goal / "first").exists()


def test_one_that_leads_to_itself_is_no_trouble(goal: Path) -> None:
    (goal / "a").symlink_to("a")
    downloads.tidy(goal, goal)


def test_a_file_that_arrived_as_a_link_is_deleted(goal: Path) -> None:
    for target in ("file", "/etc/passwd", "single"):
        single = goal / "sub" / "single"
        single.symlink_to(target)
        assert downloads.tidy(single, single) == [single]
    assert (goal / "sub" / "file").exists()


def test_one_of_several_files_may_lead_to_another(goal: Path) -> None:
    (goal / "a").symlink_to("sub/file")
    assert downloads.tidy(goal / "a", goal) == []


def test_special_files_are_deleted(goal: Path) -> None:
    os.mkfifo(goal / "sub" / "fifo")
    assert downloads.tidy(goal, goal) == [goal / "sub" / "fifo"]


def test_a_directory_that_cannot_be_listed_is_looked_through(goal: Path) -> None:
    (goal / "sub" / "a").symlink_to("/etc")
    (goal / "sub").chmod(0o300)
    assert downloads.tidy(goal, goal) == [goal / "sub" / "a"]


def test_nothing_there_is_fine(goal: Path) -> None:
    assert downloads.tidy(goal / "none", goal) == []


def test_the_log_names_some_and_counts_all(goal: Path) -> None:
    text = downloads.describe([goal / f"{number}\x1b[2J" for number in range(25)])
    assert text.startswith("Left out 25 links")
    assert text.endswith("9\\x1b[2J' and 15 more")
    assert "more" not in downloads.describe([goal / f"{number}" for number in range(downloads.NAMES_TO_SHOW)])
