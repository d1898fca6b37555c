"""A task at an https URL is read in bounded time and memory, or its error says what to do."""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING

import httpx
import pytest

from k8s_sky_provider.exceptions import SkyRequestError, SkyTransientError
from k8s_sky_provider.operators import task_url

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = "run: echo größe\n"


class Web(httpx.BaseTransport):
    """Answers of URLs, and the requests that were made."""

    def __init__(self, **answers: httpx.Response | Exception) -> None:
        self.answers = {f"https://example.com/{name}": answer for name, answer in answers.items()}
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[str(request.url)]
        if isinstance(answer, Exception):
            raise answer
        return answer


def read(answer: httpx.Response | Exception, source: str = "https://example.com/a", **others: httpx.Response) -> str:
    return task_url.read("sky_task_yaml", source, transport=Web(a=answer, **others))


def leads_to(url: str) -> httpx.Response:
    return httpx.Response(302, headers={"Location": url})


def test_its_text_is_returned() -> None:
    assert read(httpx.Response(200, text=TASK)) == TASK


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert read(httpx.Response(200, content=b"\xef\xbb\xbf" + TASK.encode())) == TASK


def test_it_may_lead_to_another_https_url() -> None:
    assert read(leads_to("/b"), b=httpx.Response(200, text=TASK)) == TASK


def test_its_sha256_is_held() -> None:
    digest = hashlib.sha256(TASK.encode()).hexdigest()
    assert read(httpx.Response(200, text=TASK), f"https://example.com/a#sha256={digest.upper()}") == TASK
    with pytest.raises(SkyRequestError, match=f"'https://example.com/a' has other content .* is {digest}"):
        read(httpx.Response(200, text=TASK), f"https://example.com/a#sha256={'0' * 64}")


@pytest.mark.parametrize("fragment", ["sha256=abc", "md5=0", "L10", f"sha256={'g' * 64}"])
def test_another_fragment_is_refused(fragment: str) -> None:
    with pytest.raises(SkyRequestError, match="must end in #sha256="):
        read(httpx.Response(200, text=TASK), f"https://example.com/a#{fragment}")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404), "answers 404 Not Found; is it the right one"),
        (httpx.Response(401), "answers 401 Unauthorized; is it the right one"),
        (httpx.Response(200, text="<!DOCTYPE html><html>..."), "is a web page and not a YAML file"),
        (httpx.Response(200, text="\n <HTML lang=en>"), "is a web page and not a YAML file"),
        (httpx.Response(200, content=b"\xff\xfe\x00"), "is not UTF-8"),
        (
            leads_to("file:///etc/passwd"),
            "leads to 'file://example.com/etc/passwd', which is not taken: it must be an https URL",
        ),
        (leads_to("http://example.com/b"), "leads to 'http://example.com/b', which is not taken"),
        (leads_to("https://me:secret-word@example.com/b"), "leads to 'https://example.com/b', which is not taken"),
        (leads_to("/a"), "leads to other URLs more than 5 times"),
    ],
)
def test_what_no_try_can_mend_is_refused(answer: httpx.Response, message: str) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)) as refused:
        read(answer)
    assert "sky_task_yaml: 'https://example.com/a'" in str(refused.value)
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://example.com/a", "ftp://example.com/a", "https://me:word@example.com/a"])
def test_nobody_is_asked_for_another_url(url: str) -> None:
    web = Web()
    with pytest.raises(SkyRequestError, match="must be an https URL with no name or password in it"):
        task_url.read("sky_task_yaml", url, transport=web)
    assert not web.asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(503), "answers 503 Service Unavailable"),
        (httpx.Response(429), "answers 429 Too Many Requests"),
        (httpx.ConnectError("no route"), "cannot be read: ConnectError: no route"),
        (httpx.ReadTimeout("slow"), "cannot be read: ReadTimeout: slow"),
    ],
)
def test_what_another_try_may_mend_is_retried(answer: httpx.Response | Exception, message: str) -> None:
    with pytest.raises(SkyTransientError, match=message):
        read(answer)


def test_two_gigabytes_are_not_read() -> None:
    read_so_far = 0

    def endless() -> Iterator[bytes]:
        nonlocal read_so_far
        for _ in range(2048):
            read_so_far += 1024 * 1024
            yield b"#" * 1024 * 1024

    with pytest.raises(SkyRequestError, match="has more than 1920000 bytes"):
        read(httpx.Response(200, content=endless()))
    assert read_so_far == 2 * 1024 * 1024


def test_nor_a_few_bytes_that_unpack_to_them() -> None:
    packed = zlib.compressobj(wbits=31)
    content = b"".join([*(packed.compress(b"#" * 1024 * 1024) for _ in range(64)), packed.flush()])
    with pytest.raises(SkyRequestError, match="has more than 1920000 bytes"):
        read(httpx.Response(200, content=content, headers={"Content-Encoding": "gzip"}))


def test_one_that_sends_a_byte_now_and_then_is_left() -> None:
    clock = iter(range(0, 1000, 9))
    content = (b"#" for _ in range(1000))
    with pytest.raises(SkyTransientError, match="was not read within 30 s"):
        task_url.read(
            "sky_task_yaml",
            "https://example.com/a",
            transport=Web(a=httpx.Response(200, content=content)),
            now=lambda: float(next(clock)),
        )


def test_one_that_leads_to_others_slowly_is_left() -> None:
    clock = iter(range(0, 1000, 20))
    web = Web(a=leads_to("/b"), b=leads_to("/c"), c=httpx.Response(200, text=TASK))
    with pytest.raises(SkyTransientError, match="was not read within 30 s"):
        task_url.read("sky_task_yaml", "https://example.com/a", transport=web, now=lambda: float(next(clock)))
    assert [request.url.path for request in web.asked] == ["/a"]


def test_no_signature_is_logged_or_in_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="httpx")
    web = Web(
        **{
            "a?signature=secret-word": leads_to("/b?signature=secret-word"),
            "b?signature=secret-word": httpx.Response(403),
        }
    )
    with pytest.raises(SkyRequestError, match=r"'https://example\.com/a' answers 403") as refused:
        task_url.read("sky_task_yaml", "https://example.com/a?signature=secret-word", transport=web)
    assert len(web.asked) == len(["a", "b"])
    assert "secret-word" not in caplog.text + str(refused.value)


@pytest.mark.parametrize(
    ("source", "is_url"),
    [("https://x/y", True), ("HTTP://x", True), ("s3://b/t.yaml", True), ("tasks/x.yaml", False), ("~/x", False)],
)
def test_what_a_url_is(source: str, is_url: bool) -> None:
    assert task_url.is_url(source) is is_url
