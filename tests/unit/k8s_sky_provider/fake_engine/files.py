"""Files on clusters."""

from __future__ import annotations

from unit.k8s_sky_provider.fake_engine.recorder import Recorder


class FakeFiles(Recorder):
    """Files by their path, the same on each cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}

    def read_file(self, cluster_name: str, path: str, *, limit: int) -> bytes | None:
        self._do("read_file", cluster_name, path)
        content = self.files.get(path)
        return None if content is None else content[:limit]
