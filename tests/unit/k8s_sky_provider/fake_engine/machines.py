"""The machines of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8s_sky_provider.runner.remote_shell import CommandOutput
from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeMachines(Recorder):
    """Machines by name, ``node-0`` and so on; each has :attr:`remote_files`, and answers :attr:`output`."""

    def __init__(self) -> None:
        super().__init__()
        self.number_of_machines = 1
        self.output = CommandOutput(exit_code=0, output="hello\n")
        self.outputs: dict[str, CommandOutput] = {}
        self.remote_files: dict[str, list[str]] = {}
        self.scripts: list[str] = []
        self.timeouts: list[tuple[int | None, float | None]] = []
        self.ended: list[str] = []

    def machines(self, cluster_name: str) -> list[Any]:
        self._do("machines", cluster_name)
        return [f"node-{rank}" for rank in range(self.number_of_machines)]

    def check_cluster_up(self, cluster_name: str) -> None:
        self._do("check_cluster_up", cluster_name)

    def run_command(
        self,
        machines: Mapping[int, Any],
        script: str,
        *,
        mark: str,
        connect_timeout: int | None,
        timeout: float | None,
    ) -> dict[int, CommandOutput]:
        self.scripts.append(script)
        self.timeouts.append((connect_timeout, timeout))
        assert mark in script
        self._do("run_command", *machines.values())
        return {rank: self.outputs.get(machine, self.output) for rank, machine in machines.items()}

    def end_command(self, machines: Mapping[int, Any], mark: str) -> None:
        self.ended.append(mark)
        self._do("end_command", *machines.values())

    def find_on_machine(self, machine: Any, path: str) -> list[str]:
        self._do("find_on_machine", machine, path)
        return self.remote_files.get(path, [])

    def upload(self, machine: Any, source: str, target: str, *, into: str) -> None:
        self._do("upload", machine, source, target, f"(in {into})")

    def download(self, machine: Any, source: str, target: str) -> None:
        self._do("download", machine, source, target)
