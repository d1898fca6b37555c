"""Where SkyPilot's state lives is looked at before SkyPilot touches it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Mapping

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="launch", map_index=2, try_number=3)
OVERLAY = "690 520 0:45 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a:/b"
PROC = "691 690 0:50 / /proc rw,nosuid - proc proc rw"


def mount(place: str, kind: str) -> str:
    """Return a line of /proc/self/mountinfo."""
    return f"710 690 259:1 /sky {place} rw,relatime shared:7 master:2 - {kind} /dev/nvme1n1 rw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "home"


def check(home: Path, *, mounts: Mapping[str, str] | None = None, **options: Any) -> None:
    """Check a home directory on a block device, unless the options say otherwise."""
    table = home.parent / "mountinfo"
    table.write_text("\n".join([OVERLAY, PROC, *options.pop("table", [mount(str(home), "ext4")])]) + "\n")
    options = {"allow_network_file_system": False, **options}
    state.check(home, expected_mounts=mounts or {}, mount_table=table, **options)


class TestFileSystem:
    """The file system of a path is that of the mount nearest above it."""

    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            ([OVERLAY], "overlay"),
            ([OVERLAY, PROC], "overlay"),
            ([OVERLAY, mount("/home/sky/.sky", "ext4")], "ext4"),
            ([OVERLAY, mount("/home/sky", "nfs4"), mount("/home/sky/.sky", "xfs")], "xfs"),
            ([OVERLAY, mount("/home/sky/.sky", "xfs"), mount("/home/sky", "nfs4")], "xfs"),
            ([OVERLAY, mount("/home/sky/.sky", "ext4"), mount("/home/sky/.sky", "nfs4")], "nfs4"),
            ([OVERLAY, mount("/home/sky/.sky/api_server", "tmpfs")], "overlay"),
            ([OVERLAY, mount("/home/sky/.sky2", "nfs4")], "overlay"),
            ([OVERLAY, mount("/home/other", "nfs4")], "overlay"),
            ([PROC], "unknown"),
        ],
        ids=[
            "container only",
            "other mounts",
            "own mount",
            "nested mounts",
            "nested mounts in the other order",
            "one over the other",
            "mount below",
            "name that begins alike",
            "neighbour",
            "no root",
        ],
    )
    def test_of_a_mount_table(self, table: list[str], expected: str, tmp_path: Path) -> None:
        (tmp_path / "mountinfo").write_text("\n".join(table) + "\n")
        assert state.file_system_of(Path("/home/sky/.sky"), tmp_path / "mountinfo") == expected

    def test_of_a_place_with_a_space(self, tmp_path: Path) -> None:
        (tmp_path / "mountinfo").write_text("\n".join([OVERLAY, mount("/mnt/my\\040disk", "ext4")]))
        assert state.file_system_of(Path("/mnt/my disk/.sky"), tmp_path / "mountinfo") == "ext4"

    def test_of_this_machine(self) -> None:
        assert state.file_system_of(Path("/proc/self")) == "proc"

    @pytest.mark.parametrize(
        "kind",
        [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "glusterfs",
            "lustre",
            "9p",
            "wekafs",
            "fuse",
            "fuse.s3fs",
            "fuse.gcsfuse",
            "fuse.sshfs",
        ],
    )
    def test_a_network_file_system_is_refused_with_the_ways_out(self, kind: str, home: Path) -> None:
        with pytest.raises(ActionFailedError) as caught:
            check(home, table=[mount(str(home / ".sky"), kind)])
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG
        for part in (repr(kind), str(home / ".sky"), "block storage", "allow_network_file_system"):
            assert part in caught.value.reason

    @pytest.mark.parametrize(
        "kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.fuse-overlayfs"]
    )
    def test_a_local_file_system_is_taken(self, kind: str, home: Path) -> None:
        check(home, table=[mount(str(home / ".sky"), kind)])

    def test_a_network_file_system_is_taken_when_the_deployment_knows_better(self, home: Path) -> None:
        check(home, table=[mount(str(home / ".sky"), "nfs4")], allow_network_file_system=True)


class TestForFiles:
    """What rsync may read and write are files of users."""

    @pytest.fixture
    def table(self, home: Path) -> Path:
        for name in ("sky_workdir/sub", "sky_logs", ".sky/k8s_sky", ".ssh", ".aws", "data", "config", "memory"):
            (home / name).mkdir(parents=True)
        # As the kubelet does for a ConfigMap, which is on the node's disk.
        (home / "config" / "..data").symlink_to("..2026")
        kinds = {".sky": "ext4", ".ssh": "ext4", "sky_workdir": "ext4", "sky_logs": "ext4", "data": "nfs4"}
        kinds |= {".aws": "tmpfs", "config": "ext4", "memory": "tmpfs", "sky_workdir/sub": "tmpfs"}
        table = home.parent / "mountinfo"
        mounts = [mount(str(home / name), kind) for name, kind in kinds.items()]
        secret = mount("/run/secrets/kubernetes.io/serviceaccount", "tmpfs")
        table.write_text("\n".join([OVERLAY, PROC, *mounts, secret]) + "\n")
        return table

    @pytest.mark.parametrize("path", ["sky_workdir", "sky_workdir/x/y", "sky_logs/x", "data", "data/x"])
    def test_are_those_on_volumes(self, path: str, home: Path, table: Path) -> None:
        link = home / "link"
        link.symlink_to(home / path)
        for place in (home / path, link):
            assert state.is_for_files(place, home, table)
            assert state.outlives_the_pod(place, home, table)

    @pytest.mark.parametrize(
        "path",
        [
            ".sky",
            ".sky/state.db",
            ".sky/k8s_sky/owners",
            ".ssh/sky-key",
            ".aws/credentials",
            "config/config.yaml",
            "memory/x",
            "sky_workdir/sub/x",
            "sky_workdir/../.sky/x",
            "x",
            "/etc/passwd",
            "/proc/1/environ",
            "/run/secrets/kubernetes.io/serviceaccount/token",
        ],
    )
    def test_are_no_state_no_keys_and_nothing_else_of_the_pod(self, path: str, home: Path, table: Path) -> None:
        link = home / "sky_workdir" / "link"
        link.symlink_to(home / path)
        for place in (home / path, link):
            assert not state.is_for_files(place, home, table)
            assert not state.outlives_the_pod(place, home, table)

    def test_are_nothing_that_has_the_state_in_it(self, home: Path, table: Path) -> None:
        table.write_text("\n".join([OVERLAY, mount(str(home), "ext4"), mount(str(home / ".sky"), "ext4")]))
        assert not state.is_for_files(home, home, table)
        assert state.is_for_files(home / "else", home, table)


class TestPodDirectories:
    """What is mounted and gone with the pod is like the image's file system, which it stands in for."""

    @pytest.fixture
    def mounts(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Path]:
        """Return the mounts of a pod without a volume, but with one of the user's, by name."""
        mounts = {name: home / name for name in ("sky_workdir", "sky_logs", ".sky", ".ssh")}
        mounts |= {"home": home, "tmp": home.parent / "tmp", "mine": home / "sky_workdir" / "mine"}
        monkeypatch.setenv("K8S_SKY_POD_DIRECTORIES", ":".join(str(mounts[name]) for name in mounts if name != "mine"))
        monkeypatch.setenv("SKYPILOT_DB_CONNECTION_URI", "postgresql://db/sky")
        return mounts

    def table(self, home: Path, mounts: Mapping[str, Path]) -> Path:
        table = home.parent / "mountinfo"
        table.write_text("\n".join([OVERLAY, *(mount(str(place), "ext4") for place in mounts.values())]) + "\n")
        return table

    @pytest.mark.parametrize("path", ["x", ".netrc", ".config/gcloud/credentials.db", "../tmp/credentials-1/x"])
    def test_the_home_and_tmp_are_not_for_files(self, path: str, home: Path, mounts: Mapping[str, Path]) -> None:
        """The runner has copies of credentials in /tmp."""
        assert not state.is_for_files(home / path, home, self.table(home, mounts))
        assert not state.outlives_the_pod(home / path, home, self.table(home, mounts))

    @pytest.mark.parametrize("path", ["sky_workdir/x", "sky_logs/x"])
    def test_the_directories_for_files_are_and_do_not_outlive_it(
        self, path: str, home: Path, mounts: Mapping[str, Path]
    ) -> None:
        assert state.is_for_files(home / path, home, self.table(home, mounts))
        assert not state.outlives_the_pod(home / path, home, self.table(home, mounts))

    def test_what_else_is_mounted_does(self, home: Path, mounts: Mapping[str, Path]) -> None:
        assert state.outlives_the_pod(mounts["mine"] / "x", home, self.table(home, mounts))

    def test_a_pod_without_a_volume_has_none(self, home: Path, mounts: Mapping[str, Path]) -> None:
        assert not state.has_volume(home, self.table(home, mounts))

    def test_a_volume_mounted_by_the_user_is_one(
        self, home: Path, mounts: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("K8S_SKY_POD_DIRECTORIES", f"{home}:{mounts['tmp']}")
        assert state.has_volume(home, self.table(home, mounts))


class TestWritable:
    """The runner's user can write to SkyPilot's directories."""

    def test_missing_directories_are_made_for_this_user_alone(self, home: Path) -> None:
        check(home)
        assert {path.name: oct(path.stat().st_mode & 0o777) for path in home.iterdir()} == {
            ".sky": "0o700",
            ".ssh": "0o700",
        }

    def test_nothing_is_left_behind(self, home: Path) -> None:
        check(home)
        assert list((home / ".sky").iterdir()) == []

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (errno.EACCES, "Permission denied"),
            (errno.EROFS, "Read-only file system"),
            (errno.ENOSPC, "No space left on device"),
        ],
    )
    def test_one_that_is_not_is_refused_with_the_reason(
        self, error: int, text: str, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(**_: object) -> None:
            raise OSError(error, text)

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        with pytest.raises(ActionFailedError) as caught:
            check(home)
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG
        for part in (f"cannot write to {home / '.sky'} as user", text, "fsGroup", "free space"):
            assert part in caught.value.reason

    def test_a_file_in_the_place_of_a_directory_is_refused(self, home: Path) -> None:
        home.mkdir()
        (home / ".ssh").write_text("")
        with pytest.raises(ActionFailedError, match=r"cannot write to .*ssh"):
            check(home)


class TestExpectedMounts:
    """A Secret or ConfigMap that does not exist is named before SkyPilot misses it."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        """Return the mount of a Secret that does not exist: the kubelet leaves its own entries there."""
        path = tmp_path / "aws"
        (path / "..2026_01_01_00_00_00.1").mkdir(parents=True)
        (path / "..data").symlink_to("..2026_01_01_00_00_00.1")
        return path

    def test_all_there_is_fine(self, home: Path, secret: Path, tmp_path: Path) -> None:
        (secret / "..data" / "credentials").write_text("x")
        (secret / "credentials").symlink_to("..data/credentials")
        config = tmp_path / "config.yaml"
        config.write_text("")
        check(home, mounts={str(secret): "Secret 'aws'", str(config): "key 'config.yaml' of ConfigMap 'conf'"})

    def test_a_missing_secret_is_refused_credentials(self, home: Path, secret: Path) -> None:
        with pytest.raises(
            ActionFailedError, match="Secret 'aws' is not in the pod's namespace or is empty: create it"
        ) as caught:
            check(home, mounts={str(secret): "Secret 'aws'"})
        assert caught.value.exit_code is ExitCode.CREDENTIALS_REFUSED

    def test_an_empty_or_missing_mount_is_a_missing_secret_too(self, home: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for name in ("empty", "missing"):
            with pytest.raises(ActionFailedError, match="Secret 'aws'"):
                check(home, mounts={str(tmp_path / name): "Secret 'aws'"})

    def test_a_missing_key_of_the_config_map_is_a_wrong_deployment(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ActionFailedError, match=r"key 'config\.yaml' of ConfigMap 'conf' is not in") as caught:
            check(home, mounts={str(tmp_path / "config.yaml"): "key 'config.yaml' of ConfigMap 'conf'"})
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG

    def test_it_is_looked_at_before_anything_is_made(self, home: Path) -> None:
        with pytest.raises(ActionFailedError):
            check(home, mounts={"/missing": "Secret 'aws'"})
        assert not home.exists()


class TestSecretValues:
    """The values of Secrets are known, so that they can be kept out of the logs."""

    def test_all_files_of_all_secrets_are_read(self, tmp_path: Path) -> None:
        for secret, key, value in (("aws", "id", "AKIA123\n"), ("tokens", "hub", "hf_secret")):
            (tmp_path / secret / "..data").mkdir(parents=True)
            (tmp_path / secret / "..data" / key).write_text(value)
            (tmp_path / secret / key).symlink_to(f"..data/{key}")
        assert state.secret_values(tmp_path) == {"AKIA123", "hf_secret"}

    def test_the_password_of_a_uri_is_one_however_it_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "sky-database").mkdir()
        uri = "postgresql://sky:pass!%40word@db/sky"
        (tmp_path / "sky-database" / "uri").write_text(uri)
        assert state.secret_values(tmp_path) == {uri, "pass!%40word", "pass!@word", "pass%21%40word"}

    @pytest.mark.parametrize(
        ("uri", "values"),
        [
            ("https://ghp_token@github.com/a", {"https://ghp_token@github.com/a", "ghp_token"}),
            ("postgresql://postgres@db/sky", {"postgresql://postgres@db/sky"}),
            ("https://github.com/a", {"https://github.com/a"}),
        ],
    )
    def test_a_token_in_a_url_is_one(self, tmp_path: Path, uri: str, values: set[str]) -> None:
        (tmp_path / "url").mkdir()
        (tmp_path / "url" / "url").write_text(uri)
        assert state.secret_values(tmp_path) == values

    def test_short_ones_would_blank_out_ordinary_words(self, tmp_path: Path) -> None:
        (tmp_path / "aws").mkdir()
        (tmp_path / "aws" / "region").write_text("east")
        assert state.secret_values(tmp_path) == frozenset()

    def test_every_line_of_a_key_is_one(self, tmp_path: Path) -> None:
        (tmp_path / "ssh").mkdir()
        (tmp_path / "ssh" / "key").write_text("-----BEGIN KEY-----\nMIIEpAIBAAK\n-----END KEY-----\n")
        assert "MIIEpAIBAAK" in state.secret_values(tmp_path)

    def test_a_key_within_json_has_lines_too(self, tmp_path: Path) -> None:
        (tmp_path / "gcp").mkdir()
        key = {"private_key": "-----BEGIN KEY-----\nMIIEpAIBAAK\n-----END KEY-----\n"}
        (tmp_path / "gcp" / "key.json").write_text(json.dumps(key))
        assert "MIIEpAIBAAK" in state.secret_values(tmp_path)

    def test_none_are_there_without_secrets(self, tmp_path: Path) -> None:
        assert state.secret_values(tmp_path / "missing") == frozenset()


class TestOwner:
    """Who made a cluster is on the volume."""

    def test_it_is_read_as_it_was_recorded(self, home: Path) -> None:
        state.record_owner(FileStore(home), "demo", OWNER)
        assert state.owner_of(FileStore(home), "demo") == OWNER

    def test_the_last_one_counts_and_leaves_no_other_files(self, home: Path) -> None:
        state.record_owner(FileStore(home), "demo", Owner(deployment="other", dag_id="d", run_id="r", task_id="t"))
        state.record_owner(FileStore(home), "demo", OWNER)
        (record,) = (home / ".sky" / "k8s_sky" / "owners").iterdir()
        assert state.owner_of(FileStore(home), "demo") == OWNER
        assert json.loads(record.read_text())["cluster_name"] == "demo"

    @pytest.mark.parametrize("text", [None, "", "{", "{}"], ids=["no record", "empty", "half a record", "lacks fields"])
    def test_without_a_record_it_is_not_known(self, text: str | None, home: Path) -> None:
        state.record_owner(FileStore(home), "other", OWNER)
        if text is not None:
            (home / ".sky" / "k8s_sky" / "owners" / "demo.json").write_text(text)
        assert state.owner_of(FileStore(home), "demo") is None


class TestWholeResult:
    """A result that is too long for Kubernetes is on the volume."""

    def test_it_is_kept_and_its_path_returned(self, home: Path) -> None:
        path = state.keep_whole(home, "dag-run-task", "größer")
        assert path == str(home / "sky_logs" / "results" / "dag-run-task.json")
        assert Path(path).read_text() == "größer"
        assert Path(path).stat().st_mode & 0o777 == 0o600

    def test_old_ones_are_forgotten_and_no_link_is_followed(self, home: Path) -> None:
        old = state.keep_whole(home, "old", "old")
        assert old is not None
        os.utime(old, (0, 0))
        (Path(old).parent / "link.json").symlink_to(home / "elsewhere")
        assert state.keep_whole(home, "link", "text") is None
        assert not Path(old).exists()
        assert not (home / "elsewhere").exists()

    @pytest.mark.parametrize("variable", ["SKYPILOT_DB_CONNECTION_URI", "SKYPILOT_API_SERVER_ENDPOINT"])
    @pytest.mark.parametrize("mounted", [False, True])
    def test_where_the_state_is_elsewhere_there_may_be_no_volume(
        self, variable: str, mounted: bool, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "somewhere")
        monkeypatch.setattr(state, "mount_point_of", lambda path, *_: path if mounted else Path("/"))
        assert (state.keep_whole(home, "dag-run-task", "text") is not None) is mounted
        assert state.outlives_the_pod(home / "sky_workdir" / "x", home) is mounted

    def test_without_room_for_it_there_is_no_path(self, home: Path) -> None:
        home.mkdir()
        (home / "sky_logs").write_text("not a directory")
        assert state.keep_whole(home, "dag-run-task", "text") is None


@pytest.mark.parametrize("kind", ["owners", "started", "outcomes", "submissions", "holders", "cleared"])
def test_notes_that_nobody_needs_any_more_are_forgotten(tmp_path: Path, kind: str) -> None:
    store = FileStore(tmp_path)
    for name in ("gone", "there"):
        store.note(kind, name, {})
        path = tmp_path / ".sky" / "k8s_sky" / kind / f"{name}.json"
        os.utime(path, times=(time.time() - (state.DAYS_TO_KEEP_NOTES + 1) * 86400,) * 2)
    store.note(kind, "young", {})
    state.forget(store, unless=lambda name: name == "there")
    left = {name for name in ("gone", "there", "young") if store.read_note(kind, name) is not None}
    # Only who made a cluster is of use as long as that is there.
    assert left == ({"there", "young"} if kind == "owners" else {"young"})
