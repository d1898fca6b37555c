"""Files on a cluster's first node."""

from __future__ import annotations

from k8s_sky_provider.runner.sky.at_server.machines import run_on_head
from k8s_sky_provider.runner.sky.files import content_of, read_command


class ClientFiles:
    """See :class:`k8s_sky_provider.runner.engine_interface.Files`."""

    def read_file(self, cluster_name: str, path: str, *, limit: int) -> bytes | None:
        """Return a file's first bytes, None if there is none; they come by ssh."""
        return_code, output, errors = run_on_head(cluster_name, read_command(path, limit))
        return content_of(f"file {path!r} on cluster {cluster_name}", return_code, output, errors)
