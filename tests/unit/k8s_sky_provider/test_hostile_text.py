"""Texts that are made to hold a reader up: what looks at nothing twice says the same as what did, or refuses them.

How long each takes is measured by ``make bench`` (benchmarks/hostile_text.py).
"""

from __future__ import annotations

import importlib
import itertools
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from dotenv.variables import Variable, parse_variables
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider import protocol, refusals, workspace
from k8s_sky_provider.credentials import read_connection
from k8s_sky_provider.exceptions import SkyCredentialsError, SkyDeploymentError, SkyRequestError
from k8s_sky_provider.hooks.skypilot import SkyPilotHook
from k8s_sky_provider.operators import read, task
from k8s_sky_provider.operators.earlier_pods import owner_of
from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import credentials, env_file, job_log, remote_shell, yaml_file
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider import fake_sky
from unit.k8s_sky_provider.test_fuzz import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEEP = "[" * 50_000
LONG = 10**5000


def texts(*parts: str) -> st.SearchStrategy[str]:
    """Return texts of these parts in any order."""
    return st.lists(st.sampled_from(parts), max_size=12).map("".join)


@pytest.fixture(scope="module")
def engines() -> Iterator[SimpleNamespace]:
    with fake_sky.installed():
        package = "k8s_sky_provider.runner.sky"
        names = ("errors", "cluster_jobs", "tasks", "jobs", "storage")
        yield SimpleNamespace(**{name: importlib.import_module(f"{package}.{name}") for name in names})


class TestTheSame:
    """The plain pattern, which takes time in proportion to the square of a text, is the measure."""

    @given(text=texts("{{", "}}", "{%", "%}", "{", "}", "%", "*", "a", "\n", "[x]"))
    def test_a_wildcard_outside_of_templates(self, text: str) -> None:
        plain = re.sub(r"{{.*?}}|{%.*?%}", "", text, flags=re.DOTALL)
        assert "".join(read._outside_of_templates(text)) == plain

    @given(text=texts("${", "}", ":", ":-", "A", "B", "$", "{", "x", "\n"))
    def test_a_variable_of_a_dotenv_file(self, text: str) -> None:
        before = {"A": "1", "AB": "${A}", "": "empty", "x": ""}
        atoms = list(parse_variables(text))
        unset = [atom for atom in atoms if isinstance(atom, Variable) and atom.default is None]
        if any(atom.name not in before for atom in unset):
            with pytest.raises(ActionFailedError, match="which no line before it sets"):
                env_file._interpolated("where", text, before)
        else:
            assert "".join(env_file._interpolated("where", text, before)) == "".join(
                atom.resolve(before) for atom in atoms
            )

    @given(text=texts("[", "]", "[:", ":]", "[.", "!", "^", "a", "*", "\\"))
    def test_a_bracket_expression(self, text: str) -> None:
        # Behind the last bracket that closes, the measure would leave one that opens to fnmatch.
        text = text[: text.rfind("]") + 1]
        plain = re.sub(
            r"\\(.)|\[[!^]?\]?(?:\[[:.=][^]]*\]|[^]])*\]",
            lambda found: re.sub(r"([*?[])", r"[\1]", found[1]) if found[1] else "?",
            text,
        )
        for name in ("a", "[a", "aa", "]", "[", "\\a", "*"):
            assert remote_shell._matches(name, text) == (
                name == text or (name not in {"", ".", ".."} and _fnmatch(name, plain))
            )

    @given(text=texts("ErrImage", "not found", "manifest unknown", "x", " "))
    def test_the_reason_of_an_image(self, engines: SimpleNamespace, text: str) -> None:
        plain = re.search(r"InvalidImageName|ErrImage.*(not found|manifest unknown)", text)
        pattern = next(pattern for pattern, *_ in engines.errors.REASONS if "InvalidImageName" in pattern.pattern)
        assert (pattern.search(text) is None) == (plain is None)

    @given(text=texts('role "', 'database "', '" does not exist', '" is not permitted', '"', "x", " "))
    def test_the_error_of_a_database(self, text: str) -> None:
        database = importlib.import_module("k8s_sky_provider.runner.database")
        refused, wrong = (
            re.search(pattern, text)
            for pattern in (r'role ".*" (does not exist|is not permitted)', r'database ".*" does not exist')
        )
        assert (database._REFUSED.search(text) is None) == (refused is None)
        assert (database._WRONG.search(text) is None) == (wrong is None)

    @given(text=texts("http://", "https://", "a", "/", "@", " ", "\n", ":"))
    def test_a_url(self, text: str) -> None:
        setting = workspace._Setting(value=text, where="dashboard_url")
        error = outcome(lambda: workspace._url(setting), SkyDeploymentError)
        is_url = bool(re.fullmatch(r"https?://[^\s/]+\S*", text))
        if isinstance(error, SkyDeploymentError):
            shown = re.sub(r"[^/@\s]*@", "***@", text)
            assert is_url == ("must be a URL without a name" in error.reason)
            assert is_url or f"{shown!r} is no URL" in error.reason
        else:
            assert is_url or not text

    @given(text=texts("\\", '"', "a", "\\\\"))
    def test_quotes_of_a_message(self, engines: SimpleNamespace, text: str) -> None:
        body = f'HTTP response body: {{"message": "{text}a"}}'
        message = re.search(r'"message": "((?:[^"\\]|\\+.)*)"', body)
        assert engines.errors._brief(RuntimeError(body)) == (re.sub(r'\\+"', '"', message[1]) if message else body)

    @given(text=texts("[0]", "{0: 1}", "\n", "\r", " ", "[1, 137]", "x", "(", "\x0b"))
    def test_exit_codes(self, engines: SimpleNamespace, text: str) -> None:
        lines = text.strip().splitlines()
        known = {"[0]": [0], "{0: 1}": [1], "[1, 137]": [1, 137]}
        if lines and lines[-1].strip() in known:
            assert engines.cluster_jobs.parse_exit_codes(text) == known[lines[-1].strip()]


def _fnmatch(name: str, pattern: str) -> bool:
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)


class TestTooDeep:
    """JSON and YAML that is nested too deep, or has a number too long to be read, is refused like any other."""

    @pytest.mark.parametrize("text", [DEEP, '{"a":' * 50_000, "1" * 5000, "{"], ids=len)
    def test_json(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever its text
            protocol.read_json(text)

    def test_of_a_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = SimpleNamespace(conn_type="skypilot", extra=DEEP, host=None)
        monkeypatch.setattr(SkyPilotHook, "get_connection", lambda *_: connection)
        with pytest.raises(SkyDeploymentError, match="connection 'deep': extra is not JSON"):
            SkyPilotHook("deep").get_conn()

    @pytest.mark.parametrize("field", ["extra", "key"])
    def test_of_a_clouds_connection(self, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = DEEP if field == "extra" else json.dumps({"keyfile_dict": DEEP})
        connection = SimpleNamespace(conn_id="deep", conn_type="google_cloud_platform", extra=extra)
        monkeypatch.setattr("k8s_sky_provider.credentials.BaseHook.get_connection", lambda _: connection)
        with pytest.raises(SkyCredentialsError, match="is not JSON"):
            read_connection(workspace.Credential.parse({"connection": "deep"}, "credentials"))

    def test_of_a_setting(self) -> None:
        with pytest.raises(SkyDeploymentError, match="credentials is not JSON"):
            workspace._credentials(workspace._Setting(value=DEEP, where="credentials"))

    def test_of_an_answer_of_kubernetes(self) -> None:
        error = ApiException(status=403, reason="Forbidden")
        error.body = DEEP
        assert refusals.api_message(error) == "Forbidden"

    def test_of_an_annotation(self) -> None:
        pod: Any = SimpleNamespace(metadata=SimpleNamespace(annotations={"k8s-sky/owner": DEEP}))
        assert owner_of(pod) is None

    def test_of_a_note(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        store.note("owners", "demo", {})
        (tmp_path / ".sky" / "k8s_sky" / "owners" / "demo.json").write_text(DEEP)
        assert store.read_note("owners", "demo") is None

    @pytest.mark.parametrize("content", [DEEP, "{", "[]"], ids=len)
    def test_of_a_note_in_the_database(self, content: str) -> None:
        database = importlib.import_module("k8s_sky_provider.runner.database")
        store = object.__new__(database.DatabaseStore)
        store._execute = lambda *_, **__: [(content,)]
        assert store.read_note("owners", "demo") is None

    def test_of_a_key_for_gcloud(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "application_default_credentials.json").write_text(DEEP)
        monkeypatch.setattr("shutil.which", lambda _: "/bin/false")
        credentials._log_in_to_gcloud(tmp_path)
        assert "gcloud cannot be logged in: it is nested too deep" in capsys.readouterr().out

    @pytest.mark.parametrize("text", [DEEP, "A: 2026-13-45", f"A: {'1' * 5000}", "{", "A: \x00"], ids=len)
    @pytest.mark.parametrize(
        ("module", "reader", "field"),
        [
            ("tasks", "_read_task_file", "sky_task_yaml"),
            ("jobs", "_read_documents", "sky_task_yaml"),
            ("storage", "_read_volume_file", "volume"),
        ],
    )
    def test_yaml_on_the_volume(
        self, engines: SimpleNamespace, module: str, reader: str, field: str, text: str, tmp_path: Path
    ) -> None:
        (tmp_path / "x.yaml").write_text(text)
        read: Callable[[str], object] = getattr(getattr(engines, module), reader)
        with pytest.raises(ActionFailedError, match=rf"^{field}: '{tmp_path}/x.yaml' cannot be read: ") as caught:
            read(f"{tmp_path}/x.yaml")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG


class TestTooLong:
    """What nobody needs that long is refused before it is read, with its name and the limit."""

    def test_a_yaml_beside_the_dag(self, tmp_path: Path) -> None:
        (tmp_path / "task.yaml").write_text("# x\n" * (protocol.YAML_LIMIT // 4))
        assert task.read_documents("task.yaml", "sky_task_yaml", tmp_path) == []
        (tmp_path / "task.yaml").write_text("# x\n" * (protocol.YAML_LIMIT // 4) + "#")
        with pytest.raises(
            SkyRequestError, match=r"task\.yaml' has more than 480000 characters, which a YAML file may"
        ):
            task.read_documents("task.yaml", "sky_task_yaml", tmp_path)

    def test_a_yaml_on_the_volume(self, tmp_path: Path) -> None:
        (tmp_path / "task.yaml").write_text("#" * (protocol.YAML_LIMIT + 1))
        with pytest.raises(ActionFailedError, match=r"volume: '.*task\.yaml' is 480001 bytes long.* 480000") as caught:
            yaml_file.read("volume", str(tmp_path / "task.yaml"))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    def test_a_dotenv_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        file = tmp_path / "long.env"
        file.write_text(f"A={'x' * (env_file.SIZE_LIMIT - 2)}")
        assert env_file.read("env_file", str(file)) == [("A", "x" * (env_file.SIZE_LIMIT - 2))]
        file.write_text(f"A={'x' * (env_file.SIZE_LIMIT - 1)}")
        with pytest.raises(ActionFailedError, match=r"env_file: '.*long\.env' is 131073 bytes long.* 131072") as caught:
            env_file.read("env_file", str(file))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    def test_a_dotenv_file_whose_lines_double(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        names = [f"A{number}" for number in range(64)]
        doubled = "".join(f"{new}=${{{old}}}${{{old}}}\n" for old, new in itertools.pairwise(names))
        (tmp_path / "bomb.env").write_text(f"A0=x\n{doubled}")
        with pytest.raises(ActionFailedError, match=r"bomb\.env' has at A1\d more than that"):
            env_file.read("secret_file", str(tmp_path / "bomb.env"))

    def test_exit_codes(self, engines: SimpleNamespace) -> None:
        codes = ", ".join(["0"] * 10_000)
        assert engines.cluster_jobs.parse_exit_codes(f"hello\n[{codes}]\n") == [0] * 10_000
        assert engines.cluster_jobs.parse_exit_codes(f"[{codes}, {codes}, {codes}]") == []

    def test_a_path(self) -> None:
        path = f"/{'a' * protocol.LONGEST_PATH}"
        with pytest.raises(SkyRequestError, match="source: has 4097 characters, and a path has at most 4096"):
            read.path("source", path)
        assert not remote_shell.is_answer(path, path)
        assert remote_shell.is_answer(path[:-1], path[:-1])

    @pytest.mark.parametrize("value", [LONG, "1" * 5000, -LONG], ids=["int", "text", "negative"])
    def test_a_number(self, value: object) -> None:
        for refuse in (
            lambda: read.whole_number()("num_nodes", value),
            lambda: read.number("timeout", value),
            lambda: read.flag("use_spot", value),
            lambda: read.one_of(["down"])("on_cancel", value),
            lambda: read.nodes("nodes", [value]),
        ):
            with pytest.raises(SkyRequestError):
                refuse()

    def test_a_head_of_a_jobs_log(self) -> None:
        shown: list[bytes] = []
        log = job_log.JobLog(1, shown.append, lambda _: None)
        log.take(b"\x1ek8s-sky-log " + b"1" * 5000 + b" 2 RUNNING no\n")
        log.take(b"\x1ek8s-sky-log 0 2 RUNNING no\nhi\x1ek8s-sky-log 2 0 SUCCEEDED end\n")
        assert b"".join(shown) == b"hi\n"
