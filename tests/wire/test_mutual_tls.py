"""Services that prove to each other who they are: who is refused, in which words, on both sides."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
import structlog
from aiohttp import web
from structlog.typing import EventDict

from octopull.config.services import Listen, TrackerConfig
from octopull.config.tls import ClusterTls, Tls
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.errors import Denied, Fault, Misuse, Unavailable
from octopull.security import mutual
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading, known_as
from octopull.security.roles import Role
from support.authorities import DAY, Authority, new
from support.waiting import until

SOON_S = 10.0


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return new(tmp_path / "ours")


@asynccontextmanager
async def origin(
    files: ClusterTls, routes: Iterable[web.RouteDef] = ()
) -> AsyncIterator[tuple[Listening, Reloading[Mutual]]]:
    """Something that listens as origins do, and answers at /books."""

    async def books(_: web.Request) -> web.Response:
        return web.json_response(["here"])

    app = application("origin")
    app.add_routes([web.get("/books", books), *routes])
    async with (
        known_as(Role.ORIGIN, files) as tls,
        serve(app, "origin", Listen(), tls=tls) as listening,
    ):
        assert tls is not None
        yield listening, tls


async def ask(host: str, files: ClusterTls | None, own: Role = Role.TAG_INDEX) -> list[str]:
    """What an origin at ``host`` answers one that shows ``files``."""
    async with known_as(own, files) as tls, Http(tls=tls) as http:
        to_origin = http if tls is None else http.to(Role.ORIGIN)
        return await to_origin.json("GET", f"http://{host}/books", list[str])


def reasons(lines: list[EventDict], side: str) -> list[str]:
    """Why a side refused the other or was refused: ``called``, or ``caller``."""
    return [line["reason"] for line in lines if line["event"] == "tls.refused" and side in line]


async def refusal(host: str, files: ClusterTls) -> tuple[str, list[EventDict]]:
    """What the caller is told, and what both sides logged."""
    with structlog.testing.capture_logs() as lines, pytest.raises(Unavailable) as refused:
        await ask(host, files)
    return str(refused.value), lines


async def test_services_of_one_authority_speak_with_each_other(ours: Authority) -> None:
    async with origin(ours.files(Role.ORIGIN)) as (here, _):
        assert here.url.startswith("https://")
        assert await ask(here.address, ours.files(Role.TAG_INDEX)) == ["here"]


async def test_a_caller_of_another_authority_is_refused(ours: Authority, tmp_path: Path) -> None:
    theirs = new(tmp_path / "theirs").files(Role.TAG_INDEX)
    async with origin(ours.files(Role.ORIGIN)) as (here, _):
        told, lines = await refusal(here.address, theirs)
        assert "its certificate is of another authority than ours" in told
        # They believe us, but we don't believe them.
        both = tmp_path / "both.pem"
        known = (ours.path, tmp_path / "theirs" / "authority.pem")
        both.write_bytes(b"".join(path.read_bytes() for path in known))
        told, lines = await refusal(here.address, replace(theirs, authority=str(both)))
    assert "it does not know the authority of our certificate" in told
    assert reasons(lines, "caller") == ["its certificate is of another authority than ours"]
    assert reasons(lines, "called") == ["it does not know the authority of our certificate"]


async def test_a_caller_whose_certificate_has_expired_is_refused(ours: Authority) -> None:
    old = ours.files(Role.TAG_INDEX, ago=2 * DAY)
    async with origin(ours.files(Role.ORIGIN)) as (here, _):
        told, lines = await refusal(here.address, old)
    assert "it says that our certificate has expired: octopull certs rotate" in told
    assert reasons(lines, "caller") == ["its certificate has expired: octopull certs rotate"]
    # Whoever has the certificate was told so when it started, too.
    (ended,) = [line for line in lines if line["event"] == "certificate.ends"]
    assert (ended["log_level"], ended["state"]) == ("error", "expired 0 minutes ago")


async def test_a_server_whose_certificate_has_expired_is_refused(ours: Authority) -> None:
    async with origin(ours.files(Role.ORIGIN, ago=2 * DAY)) as (here, _):
        told, lines = await refusal(here.address, ours.files(Role.TAG_INDEX))
    assert "its certificate has expired: octopull certs rotate" in told
    assert reasons(lines, "called") == ["its certificate has expired: octopull certs rotate"]


async def test_a_server_that_has_another_name_is_refused(ours: Authority) -> None:
    async with origin(ours.files(Role.ORIGIN, "elsewhere.example")) as (here, _):
        told, _ = await refusal(here.address, ours.files(Role.TAG_INDEX))
    assert "certificate is not valid for '127.0.0.1'" in told


async def test_a_trackers_certificate_is_no_good_for_an_origin(ours: Authority) -> None:
    with pytest.raises(Misuse, match="is for tracker, not for origin: octopull certs issue origin"):
        async with origin(ours.files(Role.TRACKER)):
            pass
    # Nor if whoever stole it does not care.
    app = application("tracker")
    async with (
        known_as(Role.TRACKER, ours.files(Role.TRACKER)) as tls,
        serve(app, "tracker", Listen(), tls=tls) as here,
    ):
        with pytest.raises(Unavailable, match="it is for tracker, not for origin"):
            await ask(here.address, ours.files(Role.TAG_INDEX))


async def test_a_caller_without_a_certificate_gets_no_further_than_health(ours: Authority) -> None:
    async with origin(ours.files(Role.ORIGIN)) as (here, _), Http() as plain:
        trusting = ssl.create_default_context(cafile=str(ours.path))
        assert plain._session is not None
        for path, status in {"/health": 200, "/readiness": 200, "/books": 403, "/metrics": 403,
                             "/nowhere": 403}.items():  # fmt: skip
            async with plain._session.get(f"{here.url}{path}", ssl=trusting) as response:
                assert (path, response.status) == (path, status)
                if status == 403:
                    told = (await response.json())["errors"][0]["message"]
                    assert told == "this is for services of the cluster, by their certificates"
        with pytest.raises(Unavailable), structlog.testing.capture_logs() as lines:
            await ask(here.address, None)
        assert reasons(lines, "caller") == ["it speaks HTTP in clear"]


async def test_callers_without_a_certificate_get_few_connections_and_services_theirs(
    ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octopull.http.crowd.STRANGERS_MAX", 3)
    files = ours.files(Role.TAG_INDEX)
    async with origin(ours.files(Role.ORIGIN)) as (here, _), AsyncExitStack() as stack:

        async def asked(shown: ClusterTls | None) -> int:
            kept = Kept(here, files.authority, shown)
            # One that is hung up on may not hear why, as its request crosses the answer.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                return await (await stack.enter_async_context(kept)).ask("/health")
            return 429

        assert [await asked(files) for _ in range(5)] == [200] * 5
        assert [await asked(None) for _ in range(4)] == [200, 200, 200, 429]
        assert await ask(here.address, files) == ["here"]


async def test_a_server_in_clear_is_not_spoken_to(ours: Authority) -> None:
    async with serve(application("origin"), "origin", Listen()) as here:
        with pytest.raises(Unavailable, match="it does not speak TLS"):
            await ask(here.address, ours.files(Role.TAG_INDEX))


async def test_a_service_is_denied_what_is_not_for_its_kind(ours: Authority) -> None:
    async with origin(ours.files(Role.ORIGIN)) as (here, _):
        with pytest.raises(Denied, match="a certificate for agent is not for this"):
            await ask(here.address, ours.files(Role.AGENT), Role.AGENT)


async def test_new_files_count_while_a_body_is_under_way(ours: Authority, tmp_path: Path) -> None:
    part, halfway, go_on = b"x" * 300_000, asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(part)
        halfway.set()
        await go_on.wait()
        await response.write(part)
        return response

    async with (
        origin(ours.files(Role.ORIGIN), [web.get("/blobs", slowly)]) as (here, reloading),
        known_as(Role.PROXY, ours.files(Role.PROXY)) as old,
        Http(tls=old) as http,
        http.to(Role.ORIGIN).stream("GET", f"http://{here.address}/blobs") as response,
    ):
        await halfway.wait()
        # Another authority altogether, and an origin's certificate by it, in place of the files.
        theirs = new(tmp_path / "theirs")
        ours.path.write_bytes(theirs.path.read_bytes())
        replace_all(theirs.files(Role.ORIGIN), ours.folder / "origin.pem")
        reloading.look()
        assert await ask(here.address, theirs.files(Role.TAG_INDEX)) == ["here"]
        with pytest.raises(Unavailable, match="of another authority"):
            await http.to(Role.ORIGIN).call("GET", f"http://{here.address}/books")
        # What was open goes on.
        go_on.set()
        assert await response.read() == part + part


class Kept:
    """One connection that is kept, whatever becomes of the files that it began with."""

    def __init__(self, here: Listening, authority: str, shown: ClusterTls | None) -> None:
        self._here = here
        self._context = ssl.create_default_context(cafile=authority)
        if shown is not None:
            self._context.load_cert_chain(shown.certificate, shown.key)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._here.host, self._here.port, ssl=self._context
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def ask(self, path: str = "/books") -> int:
        """The status of one answer, which is read whole."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        async with asyncio.timeout(SOON_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"Content-Length: (\d+)", head)
            await self._reader.readexactly(int(length))
        return int(head.split()[1])

    async def ended(self) -> bool:
        """Whether the other side hangs up."""
        async with asyncio.timeout(SOON_S):
            return await self._reader.read() == b""

    def resumable(self) -> bool:
        """Whether another could follow it without a certificate."""
        return bool(self._writer.get_extra_info("ssl_object").session.has_ticket)


async def test_a_connection_does_not_outlive_its_callers_certificate(ours: Authority) -> None:
    # Certificates end at whole seconds.
    brief = ours.files(Role.TAG_INDEX, life=timedelta(seconds=4))
    async with (
        origin(ours.files(Role.ORIGIN)) as (here, _),
        Kept(here, str(ours.path), brief) as kept,
    ):
        assert await kept.ask() == 200
        assert not kept.resumable()

        async def refused() -> bool:
            return await kept.ask() == 403

        await until(refused, SOON_S)
        assert await kept.ended()


async def test_a_connection_does_not_outlive_its_callers_authority(
    ours: Authority, tmp_path: Path
) -> None:
    theirs = new(tmp_path / "theirs")
    both = ours.path.read_bytes() + theirs.path.read_bytes()
    async with (
        origin(ours.files(Role.ORIGIN)) as (here, reloading),
        Kept(here, str(ours.path), ours.files(Role.TAG_INDEX)) as kept,
    ):
        ours.path.write_bytes(both)
        reloading.look()
        later = theirs.files(Role.TAG_INDEX)
        async with Kept(here, str(ours.path), later) as proven_anew:
            # Nobody notices a second authority, nor who has a certificate of it the first's end.
            assert [await kept.ask(), await proven_anew.ask()] == [200, 200]
            replace_all(theirs.files(Role.ORIGIN), ours.folder / "origin.pem")
            ours.path.write_bytes(theirs.path.read_bytes())
            reloading.look()
            assert [await kept.ask(), await proven_anew.ask()] == [403, 200]
            assert await kept.ended()


def replace_all(files: ClusterTls, path: Path) -> None:
    path.write_bytes(Path(files.certificate).read_bytes())
    path.with_suffix(".key").write_bytes(Path(files.key).read_bytes())


async def test_wrong_files_change_nothing_and_right_ones_are_noticed(
    ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octopull.security.reloading.LOOK_S", 0.01)
    files = ours.files(Role.ORIGIN)
    key_path = ours.folder / "origin.key"
    key = key_path.read_bytes()
    async with origin(files) as (here, reloading):
        before = reloading.current
        with structlog.testing.capture_logs() as lines:
            key_path.write_bytes(b"half of a k")

            async def told() -> bool:
                return any(line["event"] == "certificate.refused" for line in lines)

            await until(told, SOON_S)
            assert reloading.current is before
            assert await ask(here.address, ours.files(Role.TAG_INDEX)) == ["here"]
            key_path.write_bytes(key)

            async def taken() -> bool:
                return reloading.current is not before

            await until(taken, SOON_S)
        assert await ask(here.address, ours.files(Role.TAG_INDEX)) == ["here"]


@pytest.mark.parametrize(
    ("left", "level", "state"),
    [
        (timedelta(days=20), None, None),
        (timedelta(days=13, hours=1), "warning", "expires in 13 days"),
        (timedelta(hours=5, minutes=1), "error", "expires in 5 hours"),
    ],
)
async def test_an_end_that_comes_near_is_told_and_measured(
    ours: Authority, left: timedelta, level: str | None, state: str | None
) -> None:
    files = ours.files(Role.ORIGIN, life=left)
    with structlog.testing.capture_logs() as lines:
        async with (
            origin(files) as (here, _),
            known_as(Role.OPERATOR, ours.files(Role.OPERATOR)) as me,
            Http(tls=me) as http,
        ):
            metrics = await http.call("GET", f"http://{here.address}/metrics")
    told = [(line["log_level"], line["state"]) for line in lines
            if line["event"] == "certificate.ends" and line["file"] == files.certificate]  # fmt: skip
    assert told == ([] if level is None else [(level, state)])
    name = 'octopull_certificate_left_seconds{file="origin.pem"} '
    (line,) = [one for one in metrics.body.decode().splitlines() if one.startswith(name)]
    assert left.total_seconds() - 60 < float(line.removeprefix(name)) <= left.total_seconds()


def test_files_that_prove_nothing_are_told_before_anything_listens(
    ours: Authority, tmp_path: Path
) -> None:
    files = ours.files(Role.ORIGIN)
    theirs = new(tmp_path / "theirs")
    for wrong, told in (
        (replace(files, authority=str(theirs.path)), "proves nothing to those who trust"),
        (replace(files, authority=str(tmp_path / "none")), "no certificates of an authority"),
        (replace(files, key=theirs.files(Role.ORIGIN).key), "no TLS with certificate"),
    ):
        with pytest.raises(Misuse, match=told):
            mutual.load(wrong, Role.ORIGIN)


def test_one_port_has_one_certificate(ours: Authority) -> None:
    files = ours.files(Role.TRACKER)
    public = Listen(tls=Tls(certificate=files.certificate, key=files.key))
    with pytest.raises(Fault, match=r"listen\.tls has no place here"):
        TrackerConfig(origins=["a:1"], listen=public, tls=files)
