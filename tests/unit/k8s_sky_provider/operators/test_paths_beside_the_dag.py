"""What a task has beside its DAG travels with it, in every operator that takes a task."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from kubernetes.client import models as k8s

from k8s_sky_provider import operators
from k8s_sky_provider.decorators import sky_task
from k8s_sky_provider.exceptions import SkyDeploymentError, SkyRequestError, SkyTransientError
from k8s_sky_provider.operators import SkyExecOperator, SkyJobLaunchOperator, SkyLaunchOperator, pod_secret
from k8s_sky_provider.operators.base import bundle_root
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import LOCAL_FILES_MOUNT, REQUEST_LIMIT, ExitCode
from k8s_sky_provider.runner import local_files
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider.fake_kubernetes import api_error, pending, request_of, running, succeeds
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

OF_A_TASK: list[type[SkyTaskOperator]] = [
    operator
    for name in operators.__all__
    if issubclass(operator := getattr(operators, name), SkyTaskOperator) and operator is not SkyTaskOperator
]
NEEDED = {
    "SkyExecOperator": {"cluster_name": "demo"},
    "SkyServeUpOperator": {"service_name": "demo"},
    "SkyServeUpdateOperator": {"service_name": "demo"},
    "SkyPoolApplyOperator": {"pool_name": "demo"},
}
POD = "/tmp/k8s_sky_files"  # noqa: S108  # in the pod

in_every_operator = pytest.mark.parametrize("operator", OF_A_TASK, ids=lambda operator: operator.__name__)


class Asked:
    """What an operator asks for, with what travels with it."""

    def __init__(self, operator: type[SkyTaskOperator], folder: Path, task: Any, **arguments: Any) -> None:
        given: dict[str, Any] = {"task_id": "task", **NEEDED.get(operator.__name__, {}), **arguments}
        made = operator(dag=make_dag(folder), sky_task_yaml=task, **given)
        request = made.build_arguments(context_of(made))
        self.task, self.overrides = request["task"], request["overrides"]
        if isinstance(self.task, list) and len(self.task) == 1:
            (self.task,) = self.task
        self.archive = made.pack_local_files()

    @property
    def files(self) -> set[str]:
        """The files of the archive, as the pod has them."""
        with tarfile.open(fileobj=io.BytesIO(self.archive or b"")) as tar:
            return {f"{POD}/{member.name}" for member in tar.getmembers() if member.isfile()}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return the folder of a DAG with files beside it."""
    for name in ("dag.py", "code/train.py", "code/lib/a.py", "data/x.csv", "one.txt", "key.pem", "cert.pem"):
        path = tmp_path / "dags" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "dags"


def test_the_operators_are_all_there() -> None:
    assert len(OF_A_TASK) == 6


class TestPaths:
    """Which paths travel, and what becomes of them."""

    @in_every_operator
    @pytest.mark.parametrize("is_dict", [False, True])
    def test_every_place_of_a_task(self, operator: type[SkyTaskOperator], is_dict: bool, bundle: Path) -> None:
        task: dict[str, Any] = {
            "workdir": "code",
            "file_mounts": {
                "/one": "./one.txt",
                "/data": "data/",
                "/again": "one.txt",
                "/bucket": {"name": "b", "source": "data", "mode": "COPY"},
                "/several": {"name": "s", "source": ["one.txt", "~/two"]},
            },
            "service": {"tls": {"keyfile": "key.pem", "certfile": "cert.pem"}, "replicas": 1},
            "pool": {"workers": 1},
            "run": "python train.py",
        }
        given: Any = task
        if not is_dict:
            given = "task.yaml"
            (bundle / given).write_text(str(task))
        asked = Asked(operator, bundle, given)
        assert asked.task == {
            "workdir": f"{POD}/0/code",
            "file_mounts": {
                "/one": f"{POD}/1/one.txt",
                "/data": f"{POD}/2/data",
                "/again": f"{POD}/1/one.txt",
                "/bucket": {"name": "b", "source": f"{POD}/2/data", "mode": "COPY"},
                "/several": {"name": "s", "source": [f"{POD}/1/one.txt", "~/two"]},
            },
            "service": {"tls": {"keyfile": f"{POD}/3/key.pem", "certfile": f"{POD}/4/cert.pem"}, "replicas": 1},
            "pool": {"workers": 1},
            "run": "python train.py",
        }
        assert asked.files == {
            f"{POD}/{name}"
            for name in ("0/code/train.py", "0/code/lib/a.py", "1/one.txt", "2/data/x.csv", "3/key.pem", "4/cert.pem")
        }
        assert task["workdir"] == "code", "what the author wrote stays as it is"

    @in_every_operator
    def test_the_arguments(self, operator: type[SkyTaskOperator], bundle: Path) -> None:
        arguments = {"workdir": "code", "file_mounts": {"/d": "./data", "/b": "s3://b"}}
        asked = Asked(operator, bundle, {"run": "x", "service": {}, "pool": {}}, **arguments)
        assert asked.overrides["workdir"] == f"{POD}/0/code"
        assert asked.overrides["file_mounts"] == {"/d": f"{POD}/1/data", "/b": "s3://b"}
        assert f"{POD}/1/data/x.csv" in asked.files

    @in_every_operator
    def test_arguments_of_a_task_on_the_volume_are_beside_the_dag(
        self, operator: type[SkyTaskOperator], bundle: Path
    ) -> None:
        asked = Asked(operator, bundle, "~/sky_workdir/task.yaml", workdir="code")
        assert asked.task == "~/sky_workdir/task.yaml"
        assert asked.overrides["workdir"] == f"{POD}/0/code"

    @in_every_operator
    @pytest.mark.parametrize(
        "text",
        [
            "workdir: ~/sky_workdir/code",
            "workdir: /data/code",
            "workdir: {url: https://git.example.com/train.git, ref: main}",
            "workdir: $CODE\nenvs: {CODE: /data/code}",
            "workdir: ${CODE}/a\nenvs: {OTHER: x}",
            "file_mounts: {/data: s3://bucket/data, /more: ~/sky_workdir/more, /env: '${MORE}'}",
            "file_mounts: {/ckpt: {name: ckpt, mode: MOUNT}, /x: {source: s3://bucket}, /y: {source: [~/a, ~/b]}}",
            "service: {tls: {keyfile: ~/sky_workdir/key.pem, certfile: /etc/cert.pem}}",
            "file_mounts:\nworkdir:",
        ],
    )
    def test_what_the_pod_has_stays_as_it_is(self, operator: type[SkyTaskOperator], text: str, bundle: Path) -> None:
        sections = "\n".join(f"{name}: {{}}" for name in ("service", "pool") if f"{name}:" not in text)
        (bundle / "task.yaml").write_text(f"{text}\nrun: echo\n{sections}")
        beside = Asked(operator, bundle, "task.yaml")
        assert beside.archive is None
        assert beside.task["run"] == "echo"
        assert POD not in str(beside.task)

    def test_a_yaml_in_a_folder_has_its_paths_beside_it(self, bundle: Path) -> None:
        (bundle / "code" / "task.yaml").write_text("workdir: .\nfile_mounts: {/one: ../one.txt}\nrun: x")
        asked = Asked(SkyLaunchOperator, bundle, "code/task.yaml")
        assert asked.task["workdir"] == f"{POD}/0/code"
        assert asked.files >= {f"{POD}/0/code/task.yaml", f"{POD}/1/one.txt"}

    def test_the_folder_of_the_dag_itself(self, bundle: Path) -> None:
        asked = Asked(SkyLaunchOperator, bundle, {"workdir": ".", "run": "x"})
        assert asked.task["workdir"] == f"{POD}/0/dags"
        assert f"{POD}/0/dags/dag.py" in asked.files

    def test_an_absolute_path_in_the_bundle(self, bundle: Path) -> None:
        (bundle / "task.yaml").write_text(f"workdir: {bundle}/data/../code\nrun: x")
        assert Asked(SkyLaunchOperator, bundle, str(bundle / "task.yaml")).task["workdir"] == f"{POD}/0/code"

    def test_variables_of_the_task_and_of_the_arguments(self, bundle: Path) -> None:
        task = {"workdir": "${DIR}", "envs": {"DIR": "none", "N": 1, "EMPTY": None}, "run": "x"}
        task["file_mounts"] = {"/one": "$WHAT.txt"}
        asked = Asked(SkyLaunchOperator, bundle, task, envs={"DIR": "code", "WHAT": "one"})
        assert asked.task["workdir"] == f"{POD}/0/code"
        assert asked.task["file_mounts"] == {"/one": f"{POD}/1/one.txt"}

    def test_tasks_of_a_pipeline(self, bundle: Path) -> None:
        (bundle / "two.yaml").write_text("name: two\n---\nworkdir: code\nrun: a\n---\nworkdir: data\nrun: b\n")
        asked = Asked(SkyJobLaunchOperator, bundle, "two.yaml")
        assert [one.get("workdir") for one in asked.task] == [None, f"{POD}/0/code", f"{POD}/1/data"]

    def test_what_an_argument_replaces_does_not_travel(self, bundle: Path) -> None:
        task = {"workdir": "none", "file_mounts": {"/a": "none", "/b": "one.txt"}, "run": "x"}
        asked = Asked(SkyLaunchOperator, bundle, task, workdir="code", file_mounts={"/a": "s3://a"})
        assert asked.files == {f"{POD}/0/code/train.py", f"{POD}/0/code/lib/a.py", f"{POD}/1/one.txt"}
        assert Asked(SkyLaunchOperator, bundle, {"workdir": "none"}, git_url="https://g/x").archive is None

    def test_a_function(self, bundle: Path) -> None:
        def train() -> int:
            return 1

        with make_dag(bundle):
            call: Any = sky_task(sky_task_yaml={"workdir": "code"})(train)()
        operator = call.operator
        assert operator.build_arguments(context_of(operator))["task"]["workdir"] == f"{POD}/0/code"
        assert operator.pack_local_files()

    def test_a_path_that_jinja_renders(self, bundle: Path, kubernetes: FakeKubernetes) -> None:
        (bundle / "Zoë").mkdir()
        run_task(lambda: make_launch(bundle, workdir="{{ params.who }}"), kubernetes)
        assert kubernetes.request.arguments["overrides"]["workdir"] == f"{POD}/0/Zoë"

    def test_without_a_dag_file_nothing_is_beside_it(self) -> None:
        operator = SkyLaunchOperator(task_id="task", sky_task_yaml={"workdir": ".", "run": "x"})
        with pytest.raises(
            SkyRequestError, match=r"sky_task_yaml: workdir: '\.' is relative, and the folder of the DAG"
        ):
            operator.build_arguments(None)


class TestTheBundle:
    """Nothing that is outside of the DAG bundle travels."""

    @pytest.mark.parametrize(
        ("fileloc", "relative", "root"),
        [
            ("/b/team/dag.py", "team/dag.py", "/b"),
            ("/b/dag.py", "dag.py", "/b"),
            ("/b/team/dag.py", Path("team/dag.py"), "/b"),
            ("/b/team/dag.py", "other/dag.py", "/b/team"),
            ("/b/team/dag.py", "/b/team/dag.py", "/b/team"),
            ("/b/team/dag.py", None, "/b/team"),
            ("", None, None),
        ],
    )
    def test_its_root(self, fileloc: str, relative: Any, root: str | None) -> None:
        context: Any = {"dag": SimpleNamespace(fileloc=fileloc, relative_fileloc=relative)}
        assert bundle_root(context) == (Path(root) if root else None)

    def ask(self, dag_file: Path, below: str, task: Any) -> Any:
        operator = SkyLaunchOperator(task_id="task", dag=make_dag(), sky_task_yaml=task)
        context = context_of(operator)
        context["dag"] = SimpleNamespace(fileloc=str(dag_file), relative_fileloc=below)
        return operator.build_arguments(context)["task"]

    def test_what_is_beside_the_folder_of_the_dag_is_in_it(self, bundle: Path) -> None:
        dag_file = bundle / "team" / "dag.py"
        task = {"workdir": "../code", "file_mounts": {"/one": f"{bundle}/one.txt", "/x": f"{bundle}/../x"}, "run": "x"}
        asked = self.ask(dag_file, "team/dag.py", task)
        assert asked["workdir"] == f"{POD}/0/code"
        assert asked["file_mounts"] == {"/one": f"{POD}/1/one.txt", "/x": f"{bundle}/../x"}
        (bundle / "tasks").mkdir()
        (bundle / "tasks" / "t.yaml").write_text("workdir: .\nrun: x")
        assert self.ask(dag_file, "team/dag.py", f"{bundle}/tasks/t.yaml")["workdir"] == f"{POD}/0/tasks"

    @pytest.mark.parametrize("path", ["..", "../..", "code/../../other", "out"])
    def test_what_leaves_it_is_refused(self, bundle: Path, path: str) -> None:
        (bundle.parent / "other").mkdir()
        (bundle / "out").symlink_to("../other")
        with pytest.raises(SkyRequestError) as caught:
            self.ask(bundle / "dag.py", "dag.py", {"workdir": path, "run": "x"})
        assert f"sky_task_yaml: workdir: {path!r} leaves the DAG bundle {str(bundle)!r}" in str(caught.value)

    @pytest.mark.parametrize("path", ["a\0b", "a\ud800b"])
    def test_what_can_be_no_path(self, bundle: Path, path: str) -> None:
        with pytest.raises(SkyRequestError, match=r"sky_task_yaml: workdir: 'a.*b' is not a path"):
            self.ask(bundle / "dag.py", "dag.py", {"workdir": path, "run": "x"})

    def test_a_bundle_that_is_a_link(self, bundle: Path) -> None:
        (bundle.parent / "current").symlink_to("dags")
        asked = self.ask(bundle.parent / "current" / "dag.py", "dag.py", {"workdir": "code", "run": "x"})
        assert asked["workdir"] == f"{POD}/0/code"

    def test_a_team_that_is_linked_into_it(self, bundle: Path, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "team").symlink_to(bundle)
        asked = self.ask(root / "team" / "dag.py", "team/dag.py", {"workdir": "code", "run": "x"})
        assert asked["workdir"] == f"{POD}/0/code"


def make_launch(folder: Path, **arguments: Any) -> SkyLaunchOperator:
    given = {"sky_task_yaml": {"run": "x"}, "workdir": "code", "cluster_name": "demo", **arguments}
    return SkyLaunchOperator(task_id="task", dag=make_dag(folder), **given)


@pytest.fixture
def small_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_secret, "BYTES_OF_A_SECRET", 100)


def sent(kubernetes: FakeKubernetes, mount: Path) -> None:
    """Show the Secrets of the pod's volume as the kubelet does."""
    (volume,) = [volume for volume in kubernetes.pod.spec.volumes if volume.name == "sky-files"]
    mount.mkdir()
    for source in volume.projected.sources:
        (item,) = source.secret.items
        (mount / item.path).write_bytes(base64.b64decode(kubernetes.secrets[source.secret.name].data[item.key]))


@pytest.mark.usefixtures("small_secrets")
class TestTransport:
    """From the worker to the pod."""

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_pod_gets_what_was_packed(
        self, deferrable: bool, kubernetes: FakeKubernetes, bundle: Path, tmp_path: Path
    ) -> None:
        there = tmp_path / "pod"
        made: list[k8s.V1Secret] = []

        def unpack() -> None:
            if not made:
                made.extend(kubernetes.secrets.values())
                sent(kubernetes, tmp_path / "mount")
                digest = kubernetes.request.local_files
                assert digest is not None
                local_files.unpack(digest, mount=tmp_path / "mount", target=there)

        kubernetes.while_running = unpack
        kubernetes.life = lambda pod: [pending(), *succeeds(pod)]
        make = lambda: make_launch(bundle, deferrable=deferrable, startup_check_interval_seconds=0)  # noqa: E731
        run_task(make, kubernetes)
        assert (there / "0" / "code" / "lib" / "a.py").read_text() == "code/lib/a.py"
        pod = kubernetes.pod
        (mount,) = [one for one in pod.spec.containers[0].volume_mounts if one.name == "sky-files"]
        assert (mount.mount_path, mount.read_only) == (LOCAL_FILES_MOUNT, True)
        assert len(made) > 1
        for secret in made:
            assert secret.metadata.name.startswith(pod.metadata.name)
            assert secret.immutable
            (owner,) = secret.metadata.owner_references
            assert (owner.kind, owner.name, owner.uid) == ("Pod", pod.metadata.name, pod.metadata.uid)
        assert not kubernetes.secrets, "they go with the pod"

    def test_with_a_connection(self, kubernetes: FakeKubernetes, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS", '{"conn_type": "aws", "login": "AKIA", "password": "wJalrXUtnFEMI"}')
        made: list[str] = []
        kubernetes.while_running = lambda: made.extend(kubernetes.secrets)
        run_task(lambda: make_launch(bundle, credentials=[{"connection": "aws"}]), kubernetes)
        volumes = {volume.name for volume in kubernetes.pod.spec.volumes}
        assert volumes >= {"sky-files", "sky-connection-0"}
        assert len(set(made)) > 2

    def test_a_task_without_files_makes_no_secret(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        kubernetes.secret_error = api_error(403, "secrets is forbidden")
        run_task(lambda: make_launch(bundle, workdir=None), kubernetes)
        assert kubernetes.request.local_files is None

    @pytest.mark.parametrize(
        ("error", "kind", "text"),
        [
            (api_error(403, 'secrets is forbidden: User "a" cannot create'), SkyDeploymentError, "localFiles.enabled"),
            (api_error(403, "exceeded quota: q"), SkyTransientError, "no room for the Secrets with the files"),
            (api_error(500, "etcd is away"), SkyTransientError, "The Secrets with the files that travel"),
        ],
        ids=["right", "quota", "away"],
    )
    def test_a_secret_that_is_refused(
        self,
        error: Exception,
        kind: type[Exception],
        text: str,
        kubernetes: FakeKubernetes,
        bundle: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        create, made = kubernetes.create_namespaced_secret, []

        def refuse_the_second(*arguments: Any) -> Any:
            made.append(arguments)
            if len(made) == 2:
                raise error
            return create(*arguments)

        monkeypatch.setattr(kubernetes, "create_namespaced_secret", refuse_the_second)
        with pytest.raises(kind, match=text):
            run_task(lambda: make_launch(bundle), kubernetes)
        assert not kubernetes.left_over
        assert not kubernetes.secrets

    def test_what_is_missing_is_said_before_a_pod(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        operator = make_launch(bundle, workdir="none")
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/none' does not exist where the task starts"):
            run_task(lambda: operator, kubernetes)
        with pytest.raises(SkyRequestError, match=r"^workdir: '.*/one\.txt' is a file, and must be a folder"):
            run_task(lambda: make_launch(bundle, workdir="one.txt"), kubernetes)
        assert not kubernetes.created

    def test_the_limit_of_the_deployment(
        self, kubernetes: FakeKubernetes, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pod_secret, "BYTES_OF_A_SECRET", 900_000)
        (bundle / "code" / "data").write_bytes(os.urandom(1_500_000))
        with pytest.raises(SkyRequestError, match=r"do not fit, packed, into the 1\.0 MB"):
            run_task(lambda: make_launch(bundle), kubernetes)
        monkeypatch.setenv("AIRFLOW__SKYPILOT__LOCAL_FILES_LIMIT_MB", "2")
        run_task(lambda: make_launch(bundle), kubernetes)
        assert len(kubernetes.created) == 1

    def test_a_request_that_is_too_long_with_the_digest(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        run_task(lambda: make_launch(bundle), kubernetes)
        room = REQUEST_LIMIT - len(kubernetes.request.to_argument())
        with pytest.raises(SkyRequestError, match=r"launch: the request is 120010 bytes long"):
            run_task(lambda: make_launch(bundle, sky_task_yaml={"run": "x" * (1 + room + 10)}), kubernetes)

    def test_a_mount_at_the_same_place(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        mine = k8s.V1VolumeMount(name="mine", mount_path=LOCAL_FILES_MOUNT)
        with pytest.raises(SkyDeploymentError, match=f"the archive of local files is for {LOCAL_FILES_MOUNT}"):
            run_task(lambda: make_launch(bundle, volume_mounts=[mine]), kubernetes)


@pytest.mark.usefixtures("small_secrets")
class TestTries:
    """What later tries send."""

    def start(self, kubernetes: FakeKubernetes, make: Callable[[], SkyExecOperator]) -> TaskInstance:
        """Let a worker die when its pod is there, deferred."""
        operator, ti = make(), TaskInstance()
        context = context_of(operator, ti)
        operator.render_template_fields(context)
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        return ti

    def make(self, folder: Path, *, deferrable: bool = False) -> SkyExecOperator:
        return SkyExecOperator(
            task_id="task",
            dag=make_dag(folder),
            cluster_name="demo",
            sky_task_yaml={"run": "x", "workdir": "code"},
            deferrable=deferrable,
        )

    def test_one_that_goes_on_with_a_pod_sends_nothing(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        kubernetes.life = lambda pod: [running(), *succeeds(pod)]
        ti = self.start(kubernetes, lambda: self.make(bundle, deferrable=True))
        kubernetes.secret_error = api_error(403, "secrets is forbidden")
        run_task(lambda: self.make(bundle), kubernetes, ti)
        assert len(kubernetes.created) == 1

    @pytest.mark.parametrize("change", ["none", "smaller", "larger"])
    def test_a_pod_that_still_waits_gets_all_that_it_names(
        self, change: str, kubernetes: FakeKubernetes, bundle: Path, tmp_path: Path
    ) -> None:
        ti = self.start(kubernetes, lambda: self.make(bundle, deferrable=True))
        names = set(kubernetes.secrets)
        kubernetes.secrets.clear()
        if change == "smaller":
            (bundle / "code" / "lib" / "a.py").unlink()
            (bundle / "code" / "lib").rmdir()
            (bundle / "code" / "train.py").unlink()
        elif change == "larger":
            (bundle / "code" / "more").write_text(hashlib.sha512(b"").hexdigest() * 9)
        seen: set[str] = set()

        def look() -> None:
            if not seen:
                seen.update(kubernetes.secrets)
                sent(kubernetes, tmp_path / "mount")

        kubernetes.while_running = look
        run_task(lambda: self.make(bundle), kubernetes, ti)
        assert len(kubernetes.created) == 1
        assert seen == names
        digest = kubernetes.request.local_files
        assert digest is not None
        if change == "none":
            local_files.unpack(digest, mount=tmp_path / "mount", target=tmp_path / "files")
        else:
            with pytest.raises(ActionFailedError) as caught:
                local_files.unpack(digest, mount=tmp_path / "mount", target=tmp_path / "files")
            assert caught.value.exit_code is ExitCode.TRY_AGAIN

    def test_a_new_try_packs_anew(self, kubernetes: FakeKubernetes, bundle: Path) -> None:
        run_task(lambda: self.make(bundle), kubernetes)
        (bundle / "code" / "train.py").write_text("new")
        run_task(lambda: self.make(bundle), kubernetes, TaskInstance(try_number=2, max_tries=1))
        first, second = kubernetes.created
        assert request_of(second).local_files not in {None, request_of(first).local_files}
