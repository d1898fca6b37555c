"""Airflow connections of a task: its deployment's settings, and credentials in a Secret that goes with the pod."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from kubernetes.client import models as k8s

from k8s_sky_provider.credentials import CredentialFiles
from k8s_sky_provider.exceptions import SkyCredentialsError, SkyDeploymentError, SkyTransientError
from k8s_sky_provider.hooks.skypilot import SkyPilotHook
from k8s_sky_provider.operators import SkyDownOperator
from k8s_sky_provider.operators.pod_secret import mount_connections
from k8s_sky_provider.protocol import SECRETS_DIRECTORY
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes, api_error, pending, running, succeeds
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

pytestmark = pytest.mark.usefixtures("deployment")

SECRET = "wJalrXUtnFEMI/K7MDENG"


def make_down(**arguments: Any) -> SkyDownOperator:
    return SkyDownOperator(task_id="down", dag=make_dag(), **{"cluster_name": "demo", **arguments})


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "aws", "aws", login="AKIA", password=SECRET, extra={"region_name": "eu-west-1"})


class TestSettings:
    """The connection of type skypilot."""

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_it_is_read_once_per_process_and_not_when_the_dag_is_read(
        self, deferrable: bool, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_connection(monkeypatch, "team_a", "skypilot", extra={"image": "team-a:1", "deployment": "team-a"})
        reads: list[str] = []
        real = SkyPilotHook.get_connection

        def read(conn_id: str) -> Any:
            reads.append(conn_id)
            return real(conn_id)

        monkeypatch.setattr(SkyPilotHook, "get_connection", staticmethod(read))

        def make() -> SkyDownOperator:
            before = len(reads)
            operator = make_down(skypilot_conn_id="{{ 'team_a' }}", deferrable=deferrable)
            assert len(reads) == before
            return operator

        ti = run_task(make, kubernetes)
        assert ti.xcom["return_value"] == "demo"
        assert kubernetes.pod.spec.containers[0].image == "team-a:1"
        assert kubernetes.request.owner.deployment == "team-a"
        assert reads == ["team_a"] * (2 if deferrable else 1)

    def test_an_argument_beats_it(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        set_connection(monkeypatch, "skypilot_default", "skypilot", extra={"image": "theirs:1", "namespace": "theirs"})
        run_task(lambda: make_down(image="mine:1"), kubernetes)
        assert kubernetes.pod.spec.containers[0].image == "mine:1"
        assert kubernetes.pod.metadata.namespace == "theirs"

    def test_none_reads_none(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        set_connection(monkeypatch, "skypilot_default", "skypilot", extra={"image": "theirs:1"})
        run_task(lambda: make_down(skypilot_conn_id=None), kubernetes)
        assert kubernetes.pod.spec.containers[0].image == "registry.example.com/skypilot:1"

    def test_a_missing_one_is_named_before_a_pod(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(SkyDeploymentError, match="connection 'nowhere' does not exist"):
            run_task(lambda: make_down(skypilot_conn_id="nowhere"), kubernetes)
        assert not kubernetes.created


@pytest.mark.usefixtures("_aws")
class TestCredentials:
    """A credentials entry that names a connection."""

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_secret_belongs_to_the_pod_that_mounts_it(self, deferrable: bool, kubernetes: FakeKubernetes) -> None:
        made: list[k8s.V1Secret] = []
        kubernetes.while_running = lambda: made.extend(kubernetes.secrets.values())
        kubernetes.life = lambda pod: [pending(), *succeeds(pod)]
        run_task(
            lambda: make_down(
                credentials=[{"secret": "gcp", "path": ".g"}, {"connection": "aws"}],
                deferrable=deferrable,
                startup_check_interval_seconds=0,
            ),
            kubernetes,
        )
        pod = kubernetes.pod
        volume = next(volume for volume in pod.spec.volumes if volume.name == "sky-connection-0")
        mount = next(mount for mount in pod.spec.containers[0].volume_mounts if mount.name == volume.name)
        assert (mount.mount_path, mount.read_only) == ("/home/sky/.aws", True)
        assert volume.secret.optional is None
        assert volume.secret.default_mode == 0o440
        assert {item.key: item.path for item in volume.secret.items} == {
            "0.credentials": "credentials",
            "0.config": "config",
        }
        (secret,) = {secret.metadata.name: secret for secret in made}.values()
        assert volume.secret.secret_name == secret.metadata.name
        assert secret.metadata.name.startswith(pod.metadata.name)
        (owner,) = secret.metadata.owner_references
        assert (owner.kind, owner.name, owner.uid) == ("Pod", pod.metadata.name, pod.metadata.uid)
        assert SECRET in base64.b64decode(secret.data["0.credentials"]).decode()
        assert not kubernetes.secrets, "it goes with the pod"

    def test_two_connections_share_a_secret(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        set_connection(monkeypatch, "lambda", "generic", password="key")  # noqa: S106  # of nothing
        entries = [{"connection": "aws"}, {"connection": "lambda", "cloud": "lambda"}]
        run_task(lambda: make_down(credentials=entries), kubernetes)
        volumes = [volume for volume in kubernetes.pod.spec.volumes if volume.name.startswith("sky-connection-")]
        assert [volume.secret.items[0].key for volume in volumes] == ["0.credentials", "1.lambda_keys", "masked"]
        assert len({volume.secret.secret_name for volume in volumes}) == 1

    def test_a_field_is_a_variable_and_a_file_by_reference(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_connection(monkeypatch, "wandb", "generic", password="a-key-of-wandb")  # noqa: S106  # of nothing
        entries = [{"connection": "wandb", "env": {"WANDB_API_KEY": "password"}}]
        made: dict[str, Any] = {}
        kubernetes.while_running = lambda: made.update(kubernetes.secrets)
        run_task(lambda: make_down(credentials=entries), kubernetes)
        (container,) = kubernetes.pod.spec.containers
        (variable,) = [one for one in container.env if one.name == "WANDB_API_KEY"]
        reference = variable.value_from.secret_key_ref
        (secret,) = made.values()
        assert reference.name == secret.metadata.name
        assert base64.b64decode(secret.data[reference.key]).decode() == "a-key-of-wandb"
        (mount,) = [one for one in container.volume_mounts if one.mount_path.endswith("connection_WANDB_API_KEY")]
        (volume,) = [one for one in kubernetes.pod.spec.volumes if one.name == mount.name]
        assert [(item.key, item.path) for item in volume.secret.items] == [(reference.key, "WANDB_API_KEY")]
        assert mount.mount_path.startswith(f"{SECRETS_DIRECTORY}/")
        assert "a-key-of-wandb" not in str(kubernetes.pod)

    @pytest.mark.parametrize(
        "more",
        [
            {"env_vars": {"KEY": "other"}},
            {"credentials": [{"connection": "two", "env": {"A": "login", "KEY": "login"}}]},
        ],
    )
    def test_a_variable_that_is_there_already_is_named(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
    ) -> None:
        set_connection(monkeypatch, "one", "generic", password="a-key-of-one")  # noqa: S106  # of nothing
        set_connection(monkeypatch, "two", "generic", login="me")
        entries = [{"connection": "one", "env": {"KEY": "password"}}, *more.get("credentials", [])]
        with pytest.raises(SkyDeploymentError, match="credentials: KEY: the pod has another variable of that name"):
            run_task(lambda: make_down(**{**more, "credentials": entries}), kubernetes)
        assert not kubernetes.created

    def test_the_runner_gets_to_know_what_to_mask_in_its_log(self) -> None:
        pod = k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(name="pod"), spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")])
        )
        private_key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END KEY-----"
        files = {"a": f"project = training-of-models-2026\nkey = {SECRET}\n"}
        connection = CredentialFiles(
            connection="a", directory="/home/sky/.a", files=files, secrets=(SECRET, private_key)
        )
        token = CredentialFiles(connection="t", directory="/home/sky/.t", files={"t": "x"}, secrets=('it\'s "short"',))
        (mounted,) = mount_connections(pod, "base", [connection, token])
        masked = mounted.contents[0]["masked"].decode().splitlines()
        assert set(masked) == {SECRET, *private_key.splitlines(), 'it\'s "short"'}
        (mount,) = [mount for mount in pod.spec.containers[0].volume_mounts if mount.name.endswith("masked")]
        assert mount.mount_path.startswith(f"{SECRETS_DIRECTORY}/")

    def test_no_value_is_in_the_pod_the_fields_the_xcoms_or_the_log(
        self, kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        operators = []

        def make() -> SkyDownOperator:
            operators.append(make_down(credentials=[{"connection": "aws"}]))
            return operators[-1]

        ti = run_task(make, kubernetes)
        (operator,) = operators
        texts = [str(kubernetes.pod), str(ti.xcom), caplog.text]
        texts.extend(str(getattr(operator, name)) for name in operator.template_fields)
        assert not [text for text in texts if SECRET in text]

    @pytest.mark.parametrize(
        ("error", "raised", "message"),
        [
            (
                api_error(403, 'secrets is forbidden: User "a"'),
                SkyDeploymentError,
                "right to create secrets in namespace",
            ),
            (api_error(500, "etcd is away"), SkyTransientError, "etcd is away"),
        ],
    )
    def test_a_pod_that_gets_no_secret_is_deleted(
        self, error: Exception, raised: type[Exception], message: str, kubernetes: FakeKubernetes
    ) -> None:
        kubernetes.secret_error = error
        with pytest.raises(raised, match=message):
            run_task(lambda: make_down(credentials=[{"connection": "aws"}]), kubernetes)
        assert kubernetes.created
        assert not kubernetes.left_over

    def test_a_task_that_dies_in_between_takes_its_pod_with_it(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*arguments: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(kubernetes, "create_namespaced_secret", die)
        with pytest.raises(KeyboardInterrupt):
            run_task(lambda: make_down(credentials=[{"connection": "aws"}]), kubernetes)
        assert not kubernetes.left_over

    def test_a_connection_that_cannot_be_used_fails_before_a_pod(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(SkyCredentialsError, match="connection 'nowhere' does not exist"):
            run_task(lambda: make_down(credentials=[{"connection": "nowhere"}]), kubernetes)
        assert not kubernetes.created

    def test_two_credentials_at_one_place_are_refused(self, kubernetes: FakeKubernetes) -> None:
        entries = [{"secret": "aws", "path": ".aws"}, {"connection": "aws"}]
        with pytest.raises(SkyDeploymentError, match=r"connection 'aws' is for /home/sky/\.aws"):
            run_task(lambda: make_down(credentials=entries), kubernetes)
        assert not kubernetes.created


@pytest.mark.usefixtures("_aws")
def test_a_deferred_task_leaves_no_cloud_key_and_no_request_in_airflows_database(kubernetes: FakeKubernetes) -> None:
    kubernetes.life = lambda pod: [running(), *succeeds(pod)]
    operator = make_down(cluster_name="the-clusters-name", credentials=[{"connection": "aws"}], deferrable=True)
    context = context_of(operator, TaskInstance())
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    assert caught.value.trigger is not None
    row = json.dumps([caught.value.trigger.serialize(), caught.value.kwargs], default=str)
    assert kubernetes.created[0].metadata.name in row
    assert "the-clusters-name" in str(kubernetes.created[0].to_dict())
    assert SECRET not in row
    assert "the-clusters-name" not in row


@pytest.mark.usefixtures("_aws")
class TestEarlierPod:
    """A task that meets the pod of its lost worker."""

    def start(self, kubernetes: FakeKubernetes) -> TaskInstance:
        """Let a worker die when its pod is there, deferred."""
        operator = make_down(credentials=[{"connection": "aws"}], deferrable=True)
        ti = TaskInstance()
        context = context_of(operator, ti)
        operator.render_template_fields(context)
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        return ti

    def test_one_that_runs_has_its_secret(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda pod: [running(), *succeeds(pod)]
        ti = self.start(kubernetes)
        kubernetes.secret_error = api_error(403, "secrets is forbidden")
        run_task(lambda: make_down(credentials=[{"connection": "aws"}]), kubernetes, ti)
        assert len(kubernetes.created) == 1
        assert ti.xcom["return_value"] == "demo"

    def test_one_that_still_waits_gets_its_secret(self, kubernetes: FakeKubernetes) -> None:
        ti = self.start(kubernetes)
        (name,) = kubernetes.secrets
        kubernetes.secrets.clear()
        seen: list[str] = []
        kubernetes.while_running = lambda: seen.extend(kubernetes.secrets)
        run_task(lambda: make_down(credentials=[{"connection": "aws"}]), kubernetes, ti)
        assert len(kubernetes.created) == 1
        assert set(seen) == {name}

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda spec: setattr(spec.containers[0], "image", "evil"), "containers"),
            (lambda spec: setattr(spec.containers[0], "command", ["sh", "-c", "env"]), "containers"),
            (lambda spec: spec.containers.append(k8s.V1Container(name="more", image="evil")), "containers, request"),
            (lambda spec: setattr(spec, "init_containers", [k8s.V1Container(name="more", image="evil")]), "containers"),
            (lambda spec: setattr(spec.containers[0], "args", ["{}"]), "request"),
            (lambda spec: setattr(spec, "automount_service_account_token", True), "automount_service_account_token"),
        ],
        ids=["image", "command", "container", "init container", "request", "token"],
    )
    def test_one_that_is_not_as_the_task_makes_it_gets_none(
        self, change: Any, what: str, kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ti = self.start(kubernetes)
        kubernetes.secrets.clear()
        # Whoever may create pods labels one as this task's.
        change(kubernetes.created[0].spec)
        operator = make_down(credentials=[{"connection": "aws"}])
        context = context_of(operator, ti)
        operator.render_template_fields(context)
        operator._begin_try(context)
        operator.get_or_create_pod(operator.build_pod_request_obj(context), context)
        assert len(kubernetes.created) == 1
        assert kubernetes.secrets == {}
        assert f"it is not as this task would make it ({what}" in capsys.readouterr().out

    def test_one_of_an_earlier_try_gets_its_secret(self, kubernetes: FakeKubernetes) -> None:
        ti = self.start(kubernetes)
        (name,) = kubernetes.secrets
        kubernetes.secrets.clear()
        operator = make_down(credentials=[{"connection": "aws"}])
        context = context_of(operator, dataclasses.replace(ti, try_number=2))
        operator.render_template_fields(context)
        operator._begin_try(context)
        operator.get_or_create_pod(operator.build_pod_request_obj(context), context)
        assert set(kubernetes.secrets) == {name}

    def test_one_whose_secret_is_there_already_is_followed(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda pod: [pending(), pending(), pending(), *succeeds(pod)]
        ti = self.start(kubernetes)
        run_task(
            lambda: make_down(credentials=[{"connection": "aws"}], startup_check_interval_seconds=0), kubernetes, ti
        )
        assert len(kubernetes.created) == 1
        assert ti.xcom["return_value"] == "demo"
