"""The operators of machines and files: their arguments become the runner's, and exit codes become XComs."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyJobFailedError, SkyRequestError
from k8s_sky_provider.operators import SkyBaseOperator, SkyRsyncDownOperator, SkyRsyncUpOperator, SkySSHOperator
from k8s_sky_provider.protocol import ExitCode, OnCancel, SkyResult
from unit.k8s_sky_provider import fake_kubernetes
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

SSH: dict[str, Any] = {"cluster_name": "demo", "command": "echo hello"}
RSYNC: dict[str, Any] = {"cluster_name": "demo", "source": "data/", "target": "~/data"}


def arguments_of(operator: SkyBaseOperator) -> dict[str, Any]:
    context = context_of(operator)
    operator.render_template_fields(context)
    return operator.build_arguments(context)


def make_ssh(**arguments: Any) -> SkySSHOperator:
    return SkySSHOperator(task_id="ssh", dag=make_dag(), **{**SSH, **arguments})


class TestArguments:
    """What the operator was given is what the runner gets."""

    def test_of_a_command(self) -> None:
        assert arguments_of(make_ssh()) == {
            "cluster_name": "demo",
            "command": "echo hello",
            "environment": {},
            "get_pty": False,
            "conn_timeout": None,
            "cmd_timeout": None,
            "nodes": "head",
            "working_dir": None,
        }

    @pytest.mark.parametrize(
        ("name", "given", "expected"),
        [
            ("command", ["echo", "it's", "{{ params.who }}"], "echo 'it'\"'\"'s' 'Zoë'"),
            ("command", "echo {{ params.who }}", "echo Zoë"),
            ("environment", {"WHO": "{{ params.who }}", "N": 3}, {"WHO": "Zoë", "N": "3"}),
            ("get_pty", True, True),
            ("conn_timeout", 5, 5),
            ("cmd_timeout", 0.5, 0.5),
            ("nodes", "all", "all"),
            ("nodes", (0, 2), [0, 2]),
            ("working_dir", "~/{{ params.who }}", "~/Zoë"),
        ],
    )
    def test_that_are_passed_on(self, name: str, given: object, expected: object) -> None:
        assert arguments_of(make_ssh(**{name: given}))[name] == expected

    @pytest.mark.parametrize("kind", [SkyRsyncUpOperator, SkyRsyncDownOperator])
    def test_of_a_copy(self, kind: type[SkyBaseOperator]) -> None:
        operator = kind(task_id="copy", dag=make_dag(), **{**RSYNC, "source": "{{ params.who }}/", "nodes": [1]})
        assert arguments_of(operator) == {"cluster_name": "demo", "source": "Zoë/", "target": "~/data", "nodes": [1]}

    @pytest.mark.parametrize(
        ("kind", "arguments", "on_cancel"),
        [
            (SkySSHOperator, SSH, OnCancel.CANCEL),
            (SkyRsyncUpOperator, RSYNC, None),
            (SkyRsyncDownOperator, RSYNC, None),
        ],
    )
    def test_the_request_has_the_action_of_the_class(
        self,
        kind: type[SkyBaseOperator],
        arguments: dict[str, Any],
        on_cancel: OnCancel | None,
        kubernetes: FakeKubernetes,
    ) -> None:
        run_task(lambda: kind(task_id="task", dag=make_dag(), **arguments), kubernetes)
        assert kubernetes.request.action == kind.action
        assert kind.__name__.lower() == f"sky{kind.action.replace('_', '')}operator"
        assert kubernetes.request.on_cancel == on_cancel


class TestWrongArguments:
    """A wrong argument is named, with its value and what to do."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"cluster_name": "1st"}, "cluster_name: '1st' must start"),
            ({"command": " "}, "command: is empty"),
            ({"command": []}, "command: must be a text or a list of texts, not []"),
            ({"command": ["sleep", 1]}, "command: must be a text or a list of texts, not ['sleep', 1]"),
            ({"nodes": "tail"}, "nodes: 'tail' is neither 'head' nor 'all' nor a list"),
            ({"nodes": []}, "nodes: [] is neither"),
            ({"nodes": [-1]}, "nodes: [-1] is neither"),
            ({"nodes": [True]}, "nodes: [True] is neither"),
            ({"nodes": [1, 1]}, "nodes: [1, 1] is neither"),
            ({"cmd_timeout": 0}, "cmd_timeout: 0 is not a number above 0"),
            ({"conn_timeout": -1}, "conn_timeout: -1 is not a number above 0"),
            ({"sky_ssh_hook": "a hook"}, "sky_ssh_hook: there is no such hook here"),
            ({"sky_home_dir": "/opt"}, "sky_home_dir: SkyPilot's state is on the volume"),
        ],
        ids=str,
    )
    def test_of_a_command_shows_when_the_dag_is_read(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            make_ssh(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"command": "{{ '' }}"}, "command: is empty"),
            ({"environment": {"1A": "x"}}, "environment: '1A' is not a name of an environment variable"),
            ({"environment": {"A": None}}, "environment: A has no value"),
            ({"working_dir": ""}, "working_dir: '' is not a path"),
            ({"working_dir": "~root"}, "working_dir: '~root' names another user's home"),
        ],
        ids=str,
    )
    def test_of_a_command_shows_before_a_pod_exists(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(make_ssh(**arguments))

    @pytest.mark.parametrize("kind", [SkyRsyncUpOperator, SkyRsyncDownOperator])
    @pytest.mark.parametrize("field", ["source", "target"])
    @pytest.mark.parametrize("path", ["", " ", "a\nb", "~somebody/x"])
    def test_of_a_path(self, kind: type[SkyBaseOperator], field: str, path: str) -> None:
        with pytest.raises(SkyRequestError, match=f"^{field}: {re.escape(repr(path))}"):
            kind(task_id="copy", **{**RSYNC, field: path})


class TestResult:
    """What a command leaves in XCom."""

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("nodes", "codes", "expected"), [("head", [0], 0), ("all", [0, 0], [0, 0]), ([0], [0], [0])]
    )
    def test_of_a_success(
        self, nodes: Any, codes: list[int], expected: object, deferrable: bool, kubernetes: FakeKubernetes
    ) -> None:
        result = SkyResult(action="ssh", exit_code=ExitCode.OK, return_value="hello", job_exit_codes=codes)
        kubernetes.life = lambda _: [fake_kubernetes.running(), fake_kubernetes.reports(result)]
        ti = run_task(lambda: make_ssh(nodes=nodes, deferrable=deferrable), kubernetes)
        assert (ti.xcom["return_value"], ti.xcom["ssh_exit"]) == ("hello", expected)

    def test_of_a_failure_has_the_code_too(self, kubernetes: FakeKubernetes) -> None:
        result = SkyResult(action="ssh", exit_code=ExitCode.JOB_FAILED, reason="exit code 7", job_exit_codes=[7])
        kubernetes.life = lambda _: [fake_kubernetes.running(), fake_kubernetes.reports(result)]
        ti = TaskInstance()
        with pytest.raises(SkyJobFailedError, match="exit code 7"):
            run_task(make_ssh, kubernetes, ti)
        assert ti.xcom["ssh_exit"] == 7

    def test_of_a_machine_out_of_reach_has_no_code(self, kubernetes: FakeKubernetes) -> None:
        result = SkyResult(action="ssh", exit_code=ExitCode.TRY_AGAIN, reason="out of reach")
        kubernetes.life = lambda _: [fake_kubernetes.running(), fake_kubernetes.reports(result)]
        ti = TaskInstance()
        with pytest.raises(Exception, match="out of reach"):
            run_task(make_ssh, kubernetes, ti)
        assert "ssh_exit" not in ti.xcom

    def test_that_was_cut_says_where_the_whole_is(
        self, kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        result = SkyResult(
            action="ssh",
            exit_code=ExitCode.OK,
            return_value="".join(map(chr, random.Random(1).choices(range(32, 127), k=9999))),  # noqa: S311  # no secret
            job_exit_codes=[0],
        )
        cut = result.cut_to_fit("/home/sky/sky_logs/results/it.json")
        kubernetes.life = lambda _: [fake_kubernetes.running(), fake_kubernetes.reports(cut)]
        ti = run_task(make_ssh, kubernetes)
        assert 1000 < len(ti.xcom["return_value"]) < 4096
        assert "the whole is on the volume in /home/sky/sky_logs/results/it.json" in capsys.readouterr().out
