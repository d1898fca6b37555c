"""The connection type skypilot: its form, its fields and its test button."""

from __future__ import annotations

import re
import sys
import types
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pod_security import violations

from k8s_sky_provider.exceptions import SkyDeploymentError
from k8s_sky_provider.hooks.skypilot import SkyPilotHook
from k8s_sky_provider.operators import SkyBashOperator
from k8s_sky_provider.provider_info import get_provider_info
from unit.k8s_sky_provider.airflow_version import about_its_extra
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.fake_kubernetes import api_error
from unit.k8s_sky_provider.operators.running import context_of, make_dag

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

INFO = get_provider_info()
(TYPE,) = INFO["connection-types"]
FORM_ONLY = {"host", "schema", "login", "password", "port", "extra"}


class StringField:
    """What wtforms has, which only older Airflows bring."""

    def __init__(self, label: str, **options: Any) -> None:
        self.label, self.options = label, options


@pytest.fixture
def _old_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, dict[str, Any]] = {
        "wtforms": {"StringField": StringField},
        "flask_babel": {"lazy_gettext": str},
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {"BS3TextFieldWidget": object},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def test_the_provider_info_names_the_hook() -> None:
    assert TYPE["connection-type"] == SkyPilotHook.conn_type
    assert TYPE["hook-name"] == SkyPilotHook.hook_name
    assert TYPE["hook-class-name"] == f"{SkyPilotHook.__module__}.{SkyPilotHook.__name__}"


@pytest.mark.usefixtures("_old_airflow")
def test_the_form_of_older_airflows_is_that_of_newer_ones() -> None:
    widgets = SkyPilotHook.get_connection_form_widgets()
    assert {name: widget.label for name, widget in widgets.items()} == {
        name: field["label"] for name, field in TYPE["conn-fields"].items()
    }
    behaviour = SkyPilotHook.get_ui_field_behaviour()
    assert behaviour["hidden_fields"] == TYPE["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"] == TYPE["ui-field-behaviour"]["relabeling"]
    assert behaviour["placeholders"] == TYPE["ui-field-behaviour"]["placeholders"]
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}


def test_every_field_is_an_option_of_the_same_name() -> None:
    assert set(TYPE["conn-fields"]) < set(INFO["config"]["skypilot"]["options"])


def test_every_placeholder_has_its_field() -> None:
    assert set(TYPE["ui-field-behaviour"]["placeholders"]) <= {*TYPE["conn-fields"], "host"}
    assert set(TYPE["ui-field-behaviour"]["hidden-fields"]) | {"host"} == FORM_ONLY


def test_empty_fields_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    extra: dict[str, Any] = {"image": " mine:1 ", "namespace": "", "config_map": None, "credentials": []}
    set_connection(monkeypatch, "skypilot_default", "skypilot", host="https://sky.example.com", extra=extra)
    assert SkyPilotHook().get_conn().values == {
        "image": "mine:1",
        "credentials": [],
        "api_server_endpoint": "https://sky.example.com",
    }


def test_the_default_connection_need_not_exist() -> None:
    assert SkyPilotHook().find_settings() is None


@pytest.mark.parametrize(
    ("conn_type", "extra", "message"),
    [
        ("aws", {}, "connection 'team_a': its type is 'aws', not skypilot"),
        ("skypilot", "{", about_its_extra("connection 'team_a': extra is not JSON")),
        ("skypilot", "[]", about_its_extra("connection 'team_a': extra must be a JSON object, not list")),
        (
            "skypilot",
            {"imgae": "x"},
            "connection 'team_a': has unknown fields: imgae; known are api_server_endpoint_secret, api",
        ),
    ],
)
def test_a_connection_that_cannot_be_read_is_named(
    conn_type: str, extra: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, "team_a", conn_type, extra=extra)
    with pytest.raises(SkyDeploymentError, match=re.escape(message)):
        SkyPilotHook("team_a").find_settings()


def test_a_missing_connection_of_another_name_is_named() -> None:
    with pytest.raises(SkyDeploymentError, match=r"connection 'team_a' does not exist: .*skypilot_conn_id"):
        SkyPilotHook("team_a").find_settings()


class TestButton:
    """What the test button says."""

    FORM: ClassVar[dict[str, str]] = {"image": "mine:1", "namespace": "sky", "volume_claim": "sky-state"}

    def press(self, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> tuple[bool, str]:
        extra = {name: value for name, value in {**self.FORM, **fields}.items() if value is not None}
        set_connection(monkeypatch, "tested", "skypilot", extra=extra)
        return SkyPilotHook("tested").test_connection()

    def test_all_is_well(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = (True, "Sky pods can run in namespace sky with image mine:1 and volume sky-state")
        assert self.press(monkeypatch, credentials='[{"connection": "aws_default"}]') == expected
        assert not kubernetes.created
        assert not kubernetes.secrets

    def test_the_pod_that_it_asks_about_is_as_restricted_as_a_tasks(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr(kubernetes, "create_namespaced_pod", lambda body, **_: asked.append(body))
        self.press(monkeypatch)
        operator = SkyBashOperator(task_id="task", bash_command="true", dag=make_dag(), skypilot_conn_id="tested")
        task = kubernetes.api_client.sanitize_for_serialization(operator.build_pod_request_obj(context_of(operator)))
        assert violations(asked[0]) == []
        for field in ("securityContext", "volumes"):
            assert asked[0]["spec"][field] == task["spec"][field]
        for field in ("securityContext", "volumeMounts"):
            assert asked[0]["spec"]["containers"][0][field] == task["spec"]["containers"][0][field]

    def test_a_database_needs_no_volume(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        database = {"volume_claim": None, "state_mode": "database", "database_secret": "db/uri"}
        ok, text = self.press(monkeypatch, **database)
        assert (ok, text.endswith("and a database")) == (True, True)

    def test_an_api_server_is_named(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = {"image": "mine:1", "namespace": "sky", "state_mode": "api_server"}
        set_connection(monkeypatch, "tested", "skypilot", extra=extra, host="http://sky:46580")
        ok, text = SkyPilotHook("tested").test_connection()
        assert (ok, text.endswith("and the SkyPilot API server http://sky:46580")) == (True, True)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"image": None}, "image is not set"),
            ({"volume_claim": None}, "volume_claim is not set"),
            ({"volume_claim": "other"}, "PersistentVolumeClaim 'other' does not exist in namespace 'sky'"),
            ({"credentials": "["}, "connection 'tested': credentials is not JSON"),
            ({"default_resources": "["}, "connection 'tested': default_resources is not JSON"),
            ({"state_mode": "database"}, "database_secret is not set"),
            ({"state_mode": "api_server"}, "api_server_endpoint is not set"),
            ({"state_mode": "nfs"}, "connection 'tested': state_mode: 'nfs' is not one of volume, database"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, fields: dict[str, Any], message: str, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok, text = self.press(monkeypatch, **fields)
        assert not ok
        assert message in text

    def test_a_missing_namespace(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        kubernetes.create_error = api_error(404, 'namespaces "sky" not found')
        ok, text = self.press(monkeypatch)
        assert not ok
        assert "namespace 'sky' or something that the pod names does not exist" in text

    def test_a_pod_that_a_policy_refuses(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        kubernetes.create_error = api_error(403, 'pods "x" is forbidden: violates PodSecurity "restricted"')
        ok, text = self.press(monkeypatch)
        assert not ok
        assert text.startswith("Kubernetes would refuse the pod: ")
        assert "docs/operators.md#what-a-pod-may-do" in text

    @pytest.mark.parametrize(
        ("what", "right"),
        [
            ("claims", "get persistentvolumeclaims in namespace sky"),
            ("pods", "create pods in namespace sky"),
            ("secrets", "create secrets in namespace sky"),
        ],
    )
    def test_a_missing_right_is_named(
        self, what: str, right: str, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        forbidden = api_error(403, f'{what} is forbidden: User "airflow" cannot')
        if what == "claims":
            monkeypatch.setattr(kubernetes, "read_namespaced_persistent_volume_claim", raising(forbidden))
        elif what == "pods":
            kubernetes.create_error = forbidden
        else:
            kubernetes.secret_error = forbidden
        ok, text = self.press(monkeypatch, credentials='[{"connection": "aws_default"}]')
        assert not ok
        assert f"may not {right}" in text

    def test_kubernetes_out_of_reach(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kubernetes, "read_namespaced_persistent_volume_claim", raising(OSError("no route")))
        assert self.press(monkeypatch) == (False, "Kubernetes cannot be asked: no route")


def raising(error: Exception) -> Any:
    def call(*arguments: Any, **options: Any) -> None:
        raise error

    return call
