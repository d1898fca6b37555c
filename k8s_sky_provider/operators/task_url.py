"""Reads a task from an https URL, in the worker."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from typing import TYPE_CHECKING

import httpx

from k8s_sky_provider.exceptions import SkyRequestError, SkyTransientError
from k8s_sky_provider.protocol import YAML_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_READ = 30.0
"""How long a URL may take in all."""

SECONDS_WITHOUT_A_BYTE = 10.0
"""How long its server may be silent."""

_BYTES = 4 * YAML_LIMIT
"""No text of YAML_LIMIT characters has more in UTF-8."""

_REDIRECTS = 5


def is_url(source: str) -> bool:
    """Tell whether a task's source is a URL, of whichever kind, and no path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", source, re.IGNORECASE) is not None


def shown(source: str) -> str:
    """Return a URL as errors show it: what follows the path may be a signature."""
    return re.split(r"[?#]", source, maxsplit=1)[0]


def read(
    field: str, source: str, *, transport: httpx.BaseTransport | None = None, now: Callable[[], float] = time.monotonic
) -> str:
    """Return the text that an https URL has.

    :param field: the operator's argument
    :param source: the URL; what it has must be that if it ends in ``#sha256=`` and 64 hexadecimal digits
    :param transport: what sends requests (``httpx``), in tests
    :param now: seconds of a clock, in tests
    :raises SkyRequestError: if it is no https URL or leads to one that is none, has a name or password in it, or has
        nothing, too much, a web page, no text, or not what its SHA-256 says
    :raises SkyTransientError: if its server cannot be reached, has an error, or takes too long
    """
    what = f"{field}: {shown(source)!r}"
    url, _, fragment = source.partition("#")
    digest = fragment.removeprefix("sha256=").lower()
    if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
        raise SkyRequestError(f"{what} must end in #sha256= and 64 hexadecimal digits, or in no #")
    try:
        with _unlogged():
            content = _content(what, url, transport, now() + SECONDS_TO_READ, now)
    except httpx.InvalidURL as error:
        raise SkyRequestError(f"{what} is not a URL: {error}") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise SkyTransientError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
    if digest and (found := hashlib.sha256(content).hexdigest()) != digest:
        raise SkyRequestError(
            f"{what} has other content than its #sha256= says: the SHA-256 of what was read is {found}"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SkyRequestError(f"{what} is not a YAML file: it is not UTF-8 ({error})") from error
    if re.match(r"\s*<(!doctype|html|\?xml)\b", text, re.IGNORECASE):
        raise SkyRequestError(
            f"{what} is a web page and not a YAML file; give the URL of the file itself (on GitHub: Raw)"
        )
    return text


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep httpx from logging whole URLs."""
    logger = logging.getLogger("httpx")

    def nothing(_: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


def _content(
    what: str, source: str, transport: httpx.BaseTransport | None, deadline: float, now: Callable[[], float]
) -> bytes:
    """Return what a URL has; ``what`` is what errors call it."""
    url, where = httpx.URL(source), ""
    # Proxies and certificates of the worker's environment hold, as everywhere.
    with httpx.Client(transport=transport, timeout=SECONDS_WITHOUT_A_BYTE) as client:
        for _ in range(_REDIRECTS + 1):
            if url.scheme != "https" or url.userinfo:
                raise SkyRequestError(
                    f"{what}{where} is not taken: it must be an https URL with no name or password in it"
                )
            _check_time(what, deadline, now)
            with client.stream("GET", url) as response:
                if response.next_request is None:
                    return _body(what, response, deadline, now)
                url = response.next_request.url
                where = f" leads to {shown(str(url.copy_with(userinfo=b'')))!r}, which"
    raise SkyRequestError(f"{what} leads to other URLs more than {_REDIRECTS} times")


def _body(what: str, response: httpx.Response, deadline: float, now: Callable[[], float]) -> bytes:
    answer = f"{what} answers {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise SkyTransientError(answer)
    if not response.is_success:
        raise SkyRequestError(f"{answer}; is it the right one, and can the worker read it without a login?")
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > _BYTES:
            raise SkyRequestError(f"{what} has more than {_BYTES} bytes, and a YAML file may not")
        _check_time(what, deadline, now)
    return bytes(content)


def _check_time(what: str, deadline: float, now: Callable[[], float]) -> None:
    if now() > deadline:
        raise SkyTransientError(f"{what} was not read within {SECONDS_TO_READ:g} s")
