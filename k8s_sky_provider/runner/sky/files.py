"""Files on a cluster's first node."""

from __future__ import annotations

import base64
import contextlib
import shlex

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.machines import Machines

_CONTENT = "content:"
_NONE = "no such file"


class Files(Machines):
    """Files on a cluster's first node."""

    def read_file(self, cluster_name: str, path: str, *, limit: int) -> bytes | None:
        """Return a file's first bytes, None if there is none; a relative path is one in the home directory."""
        return_code, output, errors = self.run_on_head(cluster_name, read_command(path, limit))
        return content_of(f"file {path!r} on cluster {cluster_name}", return_code, output, errors)


def read_command(path: str, limit: int) -> str:
    """Return the shell command that prints a file's first bytes."""
    file = shlex.quote(path)
    return f"cd; if [ -f {file} ]; then echo {_CONTENT}$(head -c {limit} {file} | base64 -w0); else echo {_NONE}; fi"


def content_of(what: str, return_code: int, output: str, errors: str) -> bytes | None:
    """Return what :func:`read_command` answered, None if there is no such file.

    :param what: the file, for the error
    """
    # What a login shell says comes before.
    answer = output.strip().splitlines()[-1] if output.strip() else ""
    if return_code == 0 and answer == _NONE:
        return None
    if return_code == 0 and answer.startswith(_CONTENT):
        with contextlib.suppress(ValueError):
            return base64.b64decode(answer.removeprefix(_CONTENT), validate=True)
    raise ActionFailedError(ExitCode.TRY_AGAIN, f"{what} could not be read: {' '.join(errors.split()) or return_code}")
