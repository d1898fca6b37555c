"""A pod or Secret that Kubernetes refuses: said once, with the fields and the way out, and without the pod."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyDeploymentError, SkyPilotError, SkyTransientError
from k8s_sky_provider.operators import SkyBashOperator
from k8s_sky_provider.refusals import api_message
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.fake_kubernetes import api_error
from unit.k8s_sky_provider.operators.running import make_dag, run_task

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

COMMAND = "echo of-the-request"
RESTRICTED = (
    'pods "task-1" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "base" must set securityContext.allowPrivilegeEscalation=false), '
    'runAsNonRoot != true (pod or container "base" must set securityContext.runAsNonRoot=true)'
)
WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request: label team is required.'
POLICY = (
    "pods \"task-1\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'team' denied request: no label team"
)


def invalid(field: str) -> ApiException:
    """Return a refusal that names its field in the details alone."""
    error = api_error(422, 'Pod "task-1" is invalid: Forbidden')
    body = json.loads(error.body)
    body["details"] = {"causes": [{"reason": "FieldValueForbidden", "message": "Forbidden", "field": field}]}
    error.body = json.dumps(body)
    return error


REFUSALS = [
    pytest.param(
        api_error(403, RESTRICTED), "security_context, container_security_context or the pod", id="PodSecurity"
    ),
    pytest.param(api_error(400, WEBHOOK), "policy of the Kubernetes cluster", id="webhook"),
    pytest.param(api_error(422, POLICY), "policy of the Kubernetes cluster", id="ValidatingAdmissionPolicy"),
    pytest.param(invalid("spec.containers[0].image"), "spec.containers[0].image", id="field of the details"),
    pytest.param(
        api_error(422, 'Pod "task-1" is invalid: spec.nodeName: Forbidden'), "operator's arguments", id="invalid field"
    ),
    pytest.param(
        api_error(403, 'pods "task-1" is forbidden: failed quota: q: must specify limits.cpu for: base'),
        "container_resources",
        id="quota that asks for limits",
    ),
    pytest.param(
        api_error(403, 'pods "task-1" is forbidden: maximum cpu usage per Container is 1, but limit is 2'),
        "container_resources",
        id="LimitRange",
    ),
    pytest.param(
        api_error(403, 'pods is forbidden: User "airflow" cannot create resource "pods" in API group ""'),
        "airflowServiceAccounts",
        id="right",
    ),
    pytest.param(
        api_error(
            403, 'pods "task-1" is forbidden: error looking up service account sky/x: serviceaccount "x" not found'
        ),
        "service_account_name",
        id="ServiceAccount",
    ),
    pytest.param(api_error(404, 'namespaces "sky" not found'), "Create the namespace", id="namespace"),
    pytest.param(api_error(403, "nobody knows why"), "nobody knows why", id="another one"),
]


def what_is_said(
    kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str], **arguments: Any
) -> tuple[SkyPilotError, str]:
    """Return a task's error, and its log with what Airflow adds to that: the error with all that led to it."""

    def make() -> SkyBashOperator:
        return SkyBashOperator(task_id="task", bash_command=COMMAND, dag=make_dag(), **arguments)

    with pytest.raises(SkyPilotError) as caught:
        run_task(make, kubernetes)
    log = capsys.readouterr()
    return caught.value, log.out + log.err + "".join(traceback.format_exception(caught.value))


def assert_said_once(text: str, error: ApiException) -> None:
    assert text.count(api_message(error).rstrip(".")) == 1
    assert text.count("Traceback") == 1
    assert "ApiException" not in text
    assert "of-the-request" not in text


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("error", "way_out"), REFUSALS)
def test_a_pod(
    error: ApiException,
    way_out: str,
    deferrable: bool,
    kubernetes: FakeKubernetes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubernetes.create_error = error
    raised, text = what_is_said(kubernetes, capsys, deferrable=deferrable)
    assert isinstance(raised, SkyDeploymentError)
    assert raised.reason.startswith("Kubernetes refuses the pod in namespace 'sky': ")
    assert way_out in raised.reason
    assert_said_once(text, error)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_quota_that_is_used_up(
    deferrable: bool, kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    quota = "exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9"
    kubernetes.create_error = api_error(403, f'pods "task-1" is forbidden: {quota}')
    raised, text = what_is_said(kubernetes, capsys, deferrable=deferrable)
    assert isinstance(raised, SkyTransientError)
    assert raised.reason.startswith("Kubernetes has no room for the pod in namespace 'sky' now: ")
    assert_said_once(text, kubernetes.create_error)


@pytest.mark.parametrize(
    ("error", "kind", "way_out"),
    [
        (
            api_error(403, 'secrets is forbidden: User "airflow" cannot create'),
            SkyDeploymentError,
            "connectionCredentials",
        ),
        (api_error(403, WEBHOOK), SkyDeploymentError, "policy of the Kubernetes cluster"),
        (
            api_error(403, 'secrets "x" is forbidden: exceeded quota: q'),
            SkyTransientError,
            "has no room for the Secret",
        ),
    ],
    ids=["right", "webhook", "quota"],
)
def test_the_secret_of_a_connection(
    error: ApiException,
    kind: type[SkyPilotError],
    way_out: str,
    kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_connection(monkeypatch, "aws", "aws", login="AKIA", password="wJalrXUtnFEMI/K7MDENG")  # noqa: S106  # of no account
    kubernetes.secret_error = error
    raised, text = what_is_said(kubernetes, capsys, credentials=[{"connection": "aws"}])
    assert isinstance(raised, kind)
    assert way_out in raised.reason
    assert_said_once(text, error)
    assert not kubernetes.left_over
