"""Runs in a pod of the SkyPilot image: SkyPilot's own CommandRunners meet a machine that means ill.

In the place of ssh and kubectl are programs that run a command here; the machine is a directory of this pod.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(tempfile.mkdtemp()).resolve()
HOME, MACHINE, PROGRAMS = ROOT / "home", ROOT / "machine", ROOT / "bin"
for directory in (HOME / ".sky", HOME / "sky_workdir", MACHINE, PROGRAMS):
    directory.mkdir(parents=True)
os.environ |= {"HOME": str(HOME), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
os.environ.pop("SKYPILOT_DB_CONNECTION_URI", None)

# SkyPilot asks for HOME when it is imported.
from sky.backends import CloudVmRayBackend, backend_utils  # noqa: E402
from sky.data import storage, storage_utils  # noqa: E402
from sky.provision import docker_utils  # noqa: E402
from sky.provision.kubernetes import instance  # noqa: E402
from sky.utils import command_runner, message_utils  # noqa: E402

from k8s_sky_provider.runner.sky.machines import Machines  # noqa: E402

HOSTILE = "x'$(touch${IFS}EXECUTED)'"
SECRET = "secret of the pod"
ANSWER = f'case "$*" in *SKYPILOT_HOME_DIR*) echo "SKYPILOT_HOME_DIR: $(cat {MACHINE}/home)"; exit;; esac'
SSH = f"""#!/bin/bash
while [[ $1 == -* ]]; do case $1 in -T|-tt) shift;; *) shift 2;; esac; done
[ "$1" = machine ] || [[ $1 == *@* ]] && shift
{ANSWER}
cd {MACHINE} && exec bash -c "$*"
"""
KUBECTL = f"""#!/bin/bash
until [ "$1" = -- ]; do shift; done; shift
{ANSWER}
cd {MACHINE} && exec "$@"
"""


def install(name: str, program: str) -> None:
    (PROGRAMS / name).write_text(program)
    (PROGRAMS / name).chmod(0o755)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Expect an error of what is done, and that nothing was executed."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is, as long as nothing was executed
        print(f"{what}: {type(error).__name__}: {error}")
    else:
        wrong.append(f"not refused: {what}")
    for place in (Path("EXECUTED"), MACHINE / "EXECUTED"):
        if place.exists():
            place.unlink()
            wrong.append(f"executed in the runner: {what}")


def check_homes(machine: Any) -> None:
    data = write(HOME / "sky_workdir" / "data" / "a.txt", "a").parent
    write(MACHINE / "home", f"/{HOSTILE}")
    with refused("upload to a machine's home"):
        engine.upload(machine, str(data), "t", into=str(MACHINE))
    if isinstance(machine, command_runner.KubernetesCommandRunner):
        with refused("SkyPilot's own copy of a workdir"):
            machine.rsync(str(data), "~/sky_workdir", up=True, stream_logs=False)
    write(MACHINE / "home", str(MACHINE))
    engine.upload(machine, str(data), "t", into="t")
    assert (MACHINE / "t" / "a.txt").read_text() == "a"


def check_paths(machine: Any) -> None:
    real = write(HOME / "sky_workdir" / HOSTILE / "a.txt", "a").parent
    link = HOME / "sky_workdir" / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(real.name)
    with refused("upload of what a link stands for"):
        engine.upload(machine, str(link), "t", into="t")
    rsync: Callable[..., None] = machine.rsync
    for what, source, target, up in (
        ("a workdir that is a link", str(link), f"{MACHINE}/t", True),
        ("a target of file_mounts", str(HOME / "sky_workdir"), f"/{HOSTILE}", True),
        ("a source on the machine", f"/{HOSTILE}", str(HOME / "sky_workdir" / "o"), False),
        ("a target here", str(MACHINE), str(link), False),
    ):
        with refused(what):
            rsync(source, target, up=up, stream_logs=False)


def check_downloads(machine: Any) -> None:
    """A machine sends links, and a fifo, and names directories of the pod's own."""
    state = write(HOME / ".sky" / "state.db", "good")
    secret = write(ROOT / "secret", SECRET)
    out = MACHINE / "out"
    write(out / "deep" / "er" / "a.csv", "1,2")
    for name, target in {
        "state": str(HOME / ".sky"),
        "up": "../../..",
        "metrics.json": str(secret),
        "inside": "deep/er/a.csv",
        "deep/er/back": "../../inside",
    }.items():
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(target)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(out / "fifo")
    goal = HOME / "sky_workdir" / "results"
    engine.download(machine, f"{out}/", f"{goal}/")
    kept = sorted(str(path.relative_to(goal)) for path in goal.rglob("*") if not path.is_dir())
    if kept != ["deep/er/a.csv", "deep/er/back", "inside"]:
        wrong.append(f"kept of a download: {kept}")
    engine.download(machine, str(out / "metrics.json"), str(goal / "single.json"))
    if (goal / "single.json").is_symlink():
        wrong.append("kept of a download: a single file that is a link")

    write(MACHINE / "evil" / "state.db", "evil")
    (HOME / "sky_workdir" / "elsewhere").unlink(missing_ok=True)
    (HOME / "sky_workdir" / "elsewhere").symlink_to(HOME / ".sky")
    with refused("download through a link to the state"):
        engine.download(machine, f"{MACHINE}/evil/", f"{HOME}/sky_workdir/elsewhere/")
    backend_of: Any = CloudVmRayBackend
    backend = backend_of()
    handle = SimpleNamespace(
        is_grpc_enabled_with_flag=False, cluster_name="demo", get_command_runners=lambda: [machine]
    )
    for directory in (f"{HOME}/.sky", "~/sky_logs/../../.sky", f"~/sky_logs/{HOSTILE}"):
        answer = message_utils.encode_payload({"1": directory})
        backend.run_on_head = lambda *_, answer=answer, **__: (0, answer, "")
        (MACHINE / "sky_logs").mkdir(exist_ok=True)
        with refused(f"a job's log directory {directory}"):
            backend.sync_down_logs(handle, ["1"])
    if state.read_text() != "good":
        wrong.append("the state was written to")
    state.write_text("good")


def check_finding(machine: Any) -> None:
    for name in ("a.csv", "b c.csv", "it's $HOME.csv", "two\nlines.csv"):
        write(MACHINE / "found" / name, "x")
    found = engine.find_on_machine(machine, f"{MACHINE}/found/*.csv")
    if [Path(path).name for path in found] != ["a.csv", "b c.csv", "it's $HOME.csv", "two\nlines.csv"]:
        wrong.append(f"found: {found}")


def check_uploads() -> None:
    """What a machine has sent is uploaded again: SkyPilot asks for its size, and git for what is ignored in it."""
    brought = write(HOME / "sky_workdir" / "brought" / "$(touch EXECUTED).tmp", "x").parent
    write(brought / ".gitignore", "*.tmp\n")
    subprocess.run(["git", "init", "--quiet"], cwd=brought, check=True)
    with (brought / ".git" / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {ROOT}/EXECUTED\n")
    ignored = storage_utils.get_excluded_files(str(brought))
    if ignored != ["$(touch EXECUTED).tmp"]:
        wrong.append(f"ignored: {ignored}")
    if Path("EXECUTED").exists():
        wrong.append("executed in the runner: a repository's fsmonitor")
    store = storage.AzureBlobStore.__new__(storage.AzureBlobStore)
    with refused("an upload to Azure"):
        store.batch_az_blob_sync([str(brought)])
    with refused("the size of a workdir"):
        backend_utils.path_size_megabytes(str(write(HOME / "sky_workdir" / HOSTILE / "a.txt", "a").parent))


def check_names_of_users() -> None:
    for pattern, begin in (
        (docker_utils._DOCKER_USER_PATTERN, "SKYPILOT_DOCKER_USER: "),
        (instance._SSH_USER_PATTERN, "SKYPILOT_SSH_USER: "),
    ):
        if pattern.search(f"{begin}x$(touch${{IFS}}EXECUTED)") or not pattern.search(f"{begin}sky-1.a\n"):
            wrong.append(f"a user's name: {pattern.pattern}")


wrong: list[str] = []
os.chdir(ROOT)
install("ssh", SSH)
install("kubectl", KUBECTL)
write(MACHINE / "home", str(MACHINE))
engine = Machines()
for machine in (
    command_runner.SSHCommandRunner(("machine", 22), "sky", None),
    command_runner.KubernetesCommandRunner((("namespace", "context"), "pod"), container="ray-node"),
):
    print(type(machine).__name__)
    for check in (check_homes, check_paths, check_downloads, check_finding):
        check(machine)
check_uploads()
check_names_of_users()
print(*wrong, sep="\n")
print("all is well" if not wrong else f"{len(wrong)} are wrong")
