"""Whatever a proxy and an agent are sent, they answer what is meant, and stay whole; more by ``make fuzz``."""

from collections.abc import Iterator

import pytest
from aiohttp import web

from fuzz import answers, corpus
from fuzz.requests import CLIENT_SETTLES, IMAGE, request
from fuzz.servers import SERVERS, Servers
from support.hostile import MALFORMED

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
FOUND = (
    request("POST /token", FORM, b"usern\xa8me=a"),  # A form that is no UTF-8 was a 500.
    request("CONNECT r:80") + b"nonsense",  # A traceback in the log.
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("servers")) as one:
        yield one
        one.check_stores()


@pytest.mark.parametrize("name", SERVERS)
def test_what_real_clients_and_strangers_send_is_served_or_refused(
    servers: Servers, name: str
) -> None:
    kept = corpus.load(name)
    assert kept, "make fuzz ARGS='--keep'"
    tell = SERVERS[name].told_to(servers)
    for data in (*SERVERS[name].seeds, *kept, *FOUND):
        tell(data)


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_no_request_is_refused_without_a_traceback(servers: Servers, name: str) -> None:
    for data in MALFORMED:
        SERVERS[name].told_to(servers)(data)


def test_a_defect_is_told(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(request: web.Request) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr("octopull.registry.targets.blob", crash)
    with pytest.raises(AssertionError, match="status=500"):
        servers.agent(request(f"GET {IMAGE}/blobs/x"))
    monkeypatch.undo()
    # It is in the log, too.
    with pytest.raises(AssertionError, match=r"request\.failed"):
        servers.agent(request("GET /health"))
    servers.forget()
    servers.agent(request("GET /health") + CLIENT_SETTLES)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Evil: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLocation: /\nX-Evil: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
        b'HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{"errors": []}',
        b"HTTP/1.1 200 OK\r\n",
        b"nonsense\r\n\r\n",
    ],
)  # fmt: skip
def test_an_answer_that_is_not_meant_is_told(sent: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        answers.read(sent)


def test_answers_are_told_apart() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    bodies = [one.body for one in answers.read(head + head + b"hello" + chunked + head)]
    assert bodies == [b"", b"hello", b"abc", b""], "an answer to HEAD has a length and no body"
