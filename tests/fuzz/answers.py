"""What a server may send back, whatever it was sent: nothing that a stranger put there, nothing unmeant."""

import json
import re
from dataclasses import dataclass

STATUSES = {100, 200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 413, 416, 417, 429}
"""No 500, and while all services are up no 502 or 503."""

HEADERS = {
    "accept-ranges", "allow", "cache-control", "connection", "content-length", "content-range",
    "content-type", "date", "docker-content-digest", "docker-distribution-api-version",
    "docker-upload-uuid", "etag", "link", "location", "oci-chunk-min-length",
    "oci-filters-applied", "oci-subject", "octopull-fault", "octopull-progress",
    "octopull-stale", "range", "retry-after", "server", "transfer-encoding", "www-authenticate",
}  # fmt: skip
"""A header that is none of these was injected."""

_STATUS = re.compile(rb"HTTP/(?:0\.9|1\.[01]|2\.0) ([1-5]\d\d) [ -~]*")
_HEADER = re.compile(rb"([A-Za-z-]+): ?([\t -~\x80-\xff]*)")
_BODILESS = {100, 204, 304}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``body`` is empty where there is none, as to HEAD."""

    status: int
    headers: dict[str, str]
    body: bytes


def read(sent: bytes) -> list[Answer]:
    """The answers that ``sent`` consists of; the last body may be cut short.

    Raises:
        AssertionError: it does not consist of answers, or of one that is not meant.

    """
    found: list[Answer] = []
    while sent:
        head, end, sent = sent.partition(b"\r\n\r\n")
        assert end, head
        status, headers = _head(head)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            body, sent = _chunks(sent)
        elif status not in _BODILESS and not sent.startswith(b"HTTP/"):
            # An answer to HEAD has a length, and the next answer or nothing at all behind it.
            length = int(headers["content-length"])
            body, sent = sent[:length], sent[length:]
        answer = Answer(status, headers, body)
        _check(answer)
        found.append(answer)
    return found


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    assert status, first
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        assert header, line
        name = header[1].decode().lower()
        assert name in HEADERS, line
        headers[name] = header[2].decode("latin-1")
    return int(status[1]), headers


def _chunks(sent: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, sent = sent.partition(b"\r\n")
        length = int(size, 16) if size else 0
        body, sent = body + sent[:length], sent[length + 2 :]
        if not length:
            return body, sent


def _check(answer: Answer) -> None:
    assert answer.status in STATUSES, answer
    if answer.status < 400 or not answer.body:
        return
    assert b"Traceback" not in answer.body
    (error,) = json.loads(answer.body)["errors"]
    assert re.fullmatch(r"[A-Z_]+", error["code"]), answer
    assert isinstance(error["message"], str), answer
