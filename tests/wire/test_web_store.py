"""Files of a web server: from nginx, and from servers that do otherwise."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web as aioweb

from octopull.backends.contract import READ_ONLY, Span
from octopull.backends.web import Web, connected, web_key
from octopull.config.backends import BackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    InvalidName,
    NotFound,
    Unavailable,
    Unsupported,
)
from support.contents import Bytes, joined
from support.servers.front import listening
from support.servers.nginx import PASSWORD, TOKEN, USERNAME, Nginx, nginx

CONTENT = os.urandom(300_000)


@pytest.fixture
async def server() -> AsyncIterator[Nginx]:
    async with nginx() as one:
        (one.files / "a").mkdir()
        (one.files / "a/b").write_bytes(CONTENT)
        (one.files / "empty").write_bytes(b"")
        yield one


@asynccontextmanager
async def store(url: str, **settings: object) -> AsyncIterator[Web]:
    found = BackendSettings(url=url, timeout_s=5, **settings)  # type: ignore[arg-type]
    async with connected(found) as one:
        yield one


@pytest.mark.parametrize("place", ["/files", "/files/", "/whole", "/headless", "/moved"])
async def test_files_are_read_whole_and_in_parts(server: Nginx, place: str) -> None:
    async with store(server.url + place) as files:
        assert files.features == READ_ONLY
        assert (await files.stat("a/b")).size == len(CONTENT)
        assert (await files.stat("empty")).size == 0
        assert await joined(files.get("a/b")) == CONTENT
        assert await joined(files.get("empty")) == b""
        for start, length in [(0, 1), (1, 99_999), (len(CONTENT) - 5, 5), (7, 0)]:
            found = await joined(files.get("a/b", Span(start, length)))
            assert found == CONTENT[start : start + length]


async def test_it_is_known_whether_parts_are_sent(server: Nginx) -> None:
    async with store(f"{server.url}/files") as files:
        assert await files.ranged("a/b")
    async with store(f"{server.url}/whole") as files:
        assert not await files.ranged("a/b")


async def test_a_server_that_does_not_tell_sizes_is_read_to_the_end(server: Nginx) -> None:
    async with store(f"{server.url}/unsized") as files:
        with pytest.raises(Unsupported, match="how large"):
            await files.stat("a/b")
        assert await joined(files.get("a/b")) == CONTENT


async def test_a_version_lasts_until_the_file_is_another(server: Nginx) -> None:
    async with store(f"{server.url}/files") as files:
        first = await files.stat("a/b")
        assert first.version
        assert await files.stat("a/b") == first
        (server.files / "a/b").write_bytes(CONTENT[:-1])
        assert (await files.stat("a/b")).version != first.version


async def test_parts_of_a_file_that_has_changed_are_not_mixed(server: Nginx) -> None:
    async with store(f"{server.url}/files") as files:
        await files.stat("a/b")
        assert await joined(files.get("a/b", Span(0, 10))) == CONTENT[:10]
        other = bytes(len(CONTENT))
        (server.files / "new").write_bytes(other)
        os.utime(server.files / "new", (1, 1))
        (server.files / "new").rename(server.files / "a/b")
        with pytest.raises(Corrupt, match="changed"):
            await joined(files.get("a/b", Span(10, 10)))
        await files.stat("a/b")
        assert await joined(files.get("a/b", Span(10, 10))) == other[10:20]


async def test_what_is_not_there_is_not_found(server: Nginx) -> None:
    async with store(f"{server.url}/files") as files, store(f"{server.url}/gone") as gone:
        for one in (files, gone):
            with pytest.raises(NotFound):
                await one.stat("a/c")
            with pytest.raises(NotFound):
                await joined(one.get("a/c"))
            with pytest.raises(NotFound):
                await joined(one.get("a/c", Span(3, 4)))


@pytest.mark.parametrize("key", ["", "/a", "../users", "a/../../users", "a//b", "a b", "a%2Fb"])
async def test_nothing_but_keys_is_asked_for(server: Nginx, key: str) -> None:
    async with store(f"{server.url}/files") as files:
        with pytest.raises(InvalidName):
            await files.stat(key)
        with pytest.raises(InvalidName):
            await joined(files.get(key))


async def test_it_is_only_read(server: Nginx) -> None:
    async with store(f"{server.url}/files") as files:
        with pytest.raises(Unsupported):
            await files.put("a/c", Bytes(b"x"))
        with pytest.raises(Unsupported):
            await files.put_if("a/c", b"x", None)
        with pytest.raises(Unsupported):
            await files.delete("a/b")
        with pytest.raises(Unsupported):
            await files.list("", "", 10)


async def test_odd_characters_of_keys_reach_the_server(server: Nginx) -> None:
    key = "a/x:y@z+1=2~_.-"
    (server.files / key).write_bytes(b"odd")
    async with store(f"{server.url}/files") as files:
        assert await joined(files.get(key)) == b"odd"


async def test_urls_by_digest_are_filled_in(server: Nginx) -> None:
    digest = Digest.of(CONTENT)
    folder = server.files / "by-digest"
    folder.mkdir()
    (folder / str(digest)).write_bytes(CONTENT)
    (folder / digest.hex).write_bytes(CONTENT)
    (folder / "team").mkdir()
    (folder / "team" / digest.hex).write_bytes(CONTENT)
    for template in (
        "/fetch?digest={hex}",
        "/files/by-digest/{digest}",
        "/files/by-digest/{namespace}/{hex}",
    ):
        async with store(server.url + template) as files:
            key = web_key("team", digest)
            assert (await files.stat(key)).size == len(CONTENT)
            assert await joined(files.get(key, Span(5, 6))) == CONTENT[5:11]
            with pytest.raises(NotFound):
                await files.stat(web_key("team", Digest.of(b"other")))
            with pytest.raises(InvalidName):
                await files.stat("team/no-digest")


# Who we are.


async def test_credentials_are_shown_and_read_anew(server: Nginx, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"# ours\nUSERNAME={USERNAME}\nPASSWORD=wrong\n")
    async with store(f"{server.url}/basic", credentials=str(file)) as files:
        with pytest.raises(Unavailable, match="credentials") as told:
            await files.stat("a/b")
        assert "wrong" not in str(told.value) + repr(told.value.details)
        file.write_text(f"USERNAME={USERNAME}\nPASSWORD={PASSWORD}\n")
        assert await joined(files.get("a/b")) == CONTENT


async def test_a_token_may_come_from_the_environment(
    server: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"token_variable": "FILES_TOKEN"}
    async with store(f"{server.url}/bearer", options=named) as files:
        with pytest.raises(Unavailable, match="credentials"):
            await files.stat("a/b")
        monkeypatch.setenv("FILES_TOKEN", TOKEN)
        assert await joined(files.get("a/b")) == CONTENT


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/basic", "credentials"),
        ("/forbidden", "credentials"),
        ("/busy", "503"),
        ("/inside", "may not send us"),
        ("/round", "without end"),
    ],
)
async def test_what_is_refused_says_so(server: Nginx, place: str, words: str) -> None:
    async with store(server.url + place, name="the-files") as files:
        with pytest.raises(Unavailable, match=words) as told:
            await files.stat("a/b")
        with pytest.raises(Unavailable, match=words):
            await joined(files.get("a/b", Span(0, 3)))
    assert told.value.details.get("rests_s") == (7.0 if place == "/busy" else None)


async def test_nobody_there_is_unavailable() -> None:
    async with store("http://127.0.0.1:1/x") as files:
        with pytest.raises(Unavailable):
            await files.stat("a/b")


# Servers that do otherwise.


@dataclass
class Odd:
    """A server whose answers are made by hand; what came is noted."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = CONTENT
    length: int = len(CONTENT)
    close: bool = False
    seen: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def answer(self, request: aioweb.BaseRequest) -> aioweb.StreamResponse:
        """As the fields say."""
        self.seen.append(dict(request.headers))
        assert request.transport is not None
        lines = [f"HTTP/1.1 {self.status} Odd", *(f"{n}: {v}" for n, v in self.headers.items())]
        if self.length >= 0:
            lines.append(f"Content-Length: {self.length}")
        body = b"" if request.method == "HEAD" else self.body
        transport = request.transport
        assert hasattr(transport, "write")
        transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        transport.close()
        return aioweb.Response()


@asynccontextmanager
async def odd(
    options: dict[str, str] | None = None, **fields: object
) -> AsyncIterator[tuple[Odd, Web]]:
    one = Odd(**fields)  # type: ignore[arg-type]
    runner = aioweb.ServerRunner(aioweb.Server(one.answer))
    async with (
        listening(runner) as address,
        store(f"http://{address}/x", options=options or {}) as files,
    ):
        yield one, files


async def test_a_body_that_ends_early_is_no_end() -> None:
    async with odd(length=len(CONTENT) + 1) as (_, files):
        with pytest.raises(Unavailable):
            await joined(files.get("a"))
    chunked = {"Content-Range": "bytes 0-4/9", "Transfer-Encoding": "chunked"}
    async with odd(status=206, body=b"3\r\n123\r\n0\r\n\r\n", length=-1, headers=chunked) as (
        _, files,
    ):  # fmt: skip
        with pytest.raises(Unavailable, match="early"):
            await joined(files.get("a", Span(0, 5)))
    async with odd(
        status=206, body=b"1234", length=5, headers={"Content-Range": "bytes 0-4/9"}
    ) as (_, files):
        with pytest.raises(Unavailable):
            await joined(files.get("a", Span(0, 5)))


async def test_a_body_whose_end_nobody_tells_is_refused() -> None:
    async with odd(length=-1, headers={"Connection": "close"}) as (_, files):
        with pytest.raises(Unavailable, match="end"):
            await joined(files.get("a"))


@pytest.mark.parametrize(
    ("told", "length"),
    [
        ("bytes 1-5/9", 5),
        ("bytes 0-5/9", 6),
        ("bytes 0-3/9", 4),
        ("bytes 0-4/9", 6),
        ("nonsense", 5),
        ("bytes */9", 5),
    ],
)
async def test_another_range_than_was_asked_for_is_corrupt(told: str, length: int) -> None:
    headers, body = {"Content-Range": told}, b"123456"[:length]
    async with odd(status=206, headers=headers, length=length, body=body) as (one, files):
        with pytest.raises(Corrupt):
            await joined(files.get("a", Span(0, 5)))
        assert one.seen[-1]["Range"] == "bytes=0-4"


async def test_a_file_that_is_shorter_than_a_part_of_it_is_corrupt() -> None:
    async with odd(status=416, headers={"Content-Range": "bytes */3"}) as (_, files):
        with pytest.raises(Corrupt, match="fewer"):
            await joined(files.get("a", Span(4, 5)))
    async with odd(body=b"123", length=3) as (_, files):
        with pytest.raises(Corrupt, match="fewer"):
            await joined(files.get("a", Span(2, 5)))


async def test_nothing_compressed_is_asked_for_or_taken() -> None:
    async with odd(headers={"Content-Encoding": "gzip"}) as (one, files):
        with pytest.raises(Corrupt, match="compressed"):
            await joined(files.get("a"))
        assert one.seen[-1]["Accept-Encoding"] == "identity"


async def test_a_part_that_nobody_asked_for_is_no_file() -> None:
    async with odd(status=206, headers={"Content-Range": "bytes 0-4/9"}) as (_, files):
        with pytest.raises(Unavailable):
            await joined(files.get("a"))


async def test_secrets_do_not_follow_redirects_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILES_TOKEN", TOKEN)
    named = {"token_variable": "FILES_TOKEN"}
    async with odd() as (elsewhere, files):
        target = files.settings.url
        moved = {"Location": f"{target}/a"}
        async with odd(named, status=302, headers=moved, body=b"", length=0) as (home, redirected):
            assert await joined(redirected.get("a")) == CONTENT
        assert TOKEN in home.seen[0]["Authorization"]
        assert "Authorization" not in elsewhere.seen[0]
