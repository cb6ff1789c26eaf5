"""Peers that trackers share in a real Redis, which goes away, hangs, forgets and lies."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import Counter, Gauge, Histogram

from octopull.clients.tracker import SwarmStatus
from octopull.config.peer_store import PeerStoreSettings
from octopull.kernel.errors import Misuse
from octopull.kernel.peers import Peer
from octopull.observability import metrics
from octopull.placement.peer_table import PeerTable
from octopull.placement.sharing import ERRANDS_MAX, HEARD_OF_SWARM_MAX, Batch, Errand, told
from octopull.services.tracker import redis_link
from octopull.services.tracker.redis_link import RedisLink
from octopull.services.tracker.redis_peers import RETRY_S, RedisPeers, opened_redis
from support.self_signed import certificate
from support.servers.redis import RedisServer, redis
from support.waiting import until

TTL_S = 30.0
SWARM = "a" * 64
SOON_S = 10.0
Said = list[MutableMapping[str, Any]]
PASSWORD = "peers-are-secret"
CLUSTER_DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis(tmp_path / "redis") as one:
        yield one


@pytest.fixture
def settings(server: RedisServer) -> PeerStoreSettings:
    return PeerStoreSettings(url=server.url, timeout_s=2.0)


@pytest.fixture
def said() -> Iterator[Said]:
    """The lines of the log."""
    with structlog.testing.capture_logs() as lines:
        yield lines


def events(said: Said) -> list[str]:
    """What the log says of the store."""
    names = [str(line["event"]) for line in said]
    return [name.removeprefix("peer_store.") for name in names if name.startswith("peer_store.")]


@asynccontextmanager
async def store(settings: PeerStoreSettings, ttl_s: float = TTL_S) -> AsyncIterator[RedisPeers]:
    async with opened_redis(settings, PeerTable(ttl_s), look_s=0) as one:
        yield one


def peer(number: int) -> Peer:
    return Peer(id=f"{number:040x}", host="10.0.0.1", port=1 + number)


def status(info_hash: str = SWARM, *, complete: bool = False) -> SwarmStatus:
    return SwarmStatus(
        info_hash=info_hash, digest=f"sha256:{info_hash}", namespace="a", complete=complete, wants=9
    )


async def announce(to: RedisPeers, number: int, *swarms: SwarmStatus) -> set[int]:
    """A peer's word; whom the tracker knows in the usual swarm then."""
    await to.announce(peer(number), swarms or [status()], time.monotonic())
    return {one.peer.port - 1 for one in to.swarm(SWARM).members.values()}


def sample(metric: Counter | Gauge | Histogram, name: str) -> float:
    (family,) = metric.collect()
    return next((one.value for one in family.samples if one.name.endswith(name)), 0.0)


def failures() -> float:
    return sample(metrics.PEER_STORE_FAILURES, "_total")


def trips() -> float:
    """How many round trips there were."""
    return sample(metrics.PEER_STORE_SECONDS, "_count")


async def up(value: float = 1.0) -> None:
    """Until the stores of this process find their server, or lost it."""

    async def is_so() -> bool:
        return sample(metrics.PEER_STORE_UP, "_up") == value

    await until(is_so, SOON_S)


async def test_while_the_server_is_away_a_tracker_knows_what_it_was_told_and_waits_for_nothing(
    server: RedisServer, settings: PeerStoreSettings, said: Said
) -> None:
    async with store(settings) as one:
        await announce(one, 1)
        await server.kill()
        # Nobody announces anything: it is missed all the same.
        await up(0)
        started = time.monotonic()
        for number in range(2, 102):
            assert await announce(one, number) == set(range(1, number + 1))
        assert time.monotonic() - started < settings.timeout_s
        assert events(said) == ["found", "lost"]
        before = failures()

        async def tried_again() -> bool:
            return failures() > before

        await until(tried_again, SOON_S)
        await server.start()
        await up()
        assert events(said) == ["found", "lost", "found"]


async def test_a_server_that_comes_back_empty_knows_all_after_one_announce_of_each(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    async with store(settings) as one:
        for number in range(5):
            await announce(one, number)
        await server.kill()
        await server.start()
        # The connection broke while nobody looked.
        await announce(one, 0)
        await up(0)
        await up()
        async with server.client() as client:
            assert await client.keys("*peers*") == []
            for number in range(5):
                await announce(one, number)
            async with store(settings) as third:
                assert await announce(third, 8) == {0, 1, 2, 3, 4, 8}


async def test_a_server_that_lost_what_it_was_told_without_a_word_is_told_again(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    async with store(settings, ttl_s=1.5) as one, store(settings) as other, server.client() as all_:
        await announce(one, 1)
        await all_.flushall()

        async def healed() -> bool:
            await announce(one, 1)
            return await announce(other, 2) == {1, 2}

        await until(healed, SOON_S)


async def test_a_tracker_starts_without_its_server_and_finds_it_later(tmp_path: Path) -> None:
    async with redis(tmp_path / "redis") as server:
        await server.kill()
        async with AsyncExitStack() as stack:
            settings = PeerStoreSettings(url=server.url)
            one, other = [await stack.enter_async_context(store(settings)) for _ in range(2)]
            assert await announce(one, 1) == {1}
            await server.start()

            async def shared() -> bool:
                await announce(one, 1)
                return await announce(other, 2) == {1, 2}

            await until(shared, SOON_S)


async def test_a_server_that_hangs_is_waited_for_once_and_not_for_long(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    async with store(replace(settings, timeout_s=0.5)) as one:
        await announce(one, 1)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            await asyncio.gather(*(announce(one, number) for number in range(2, 50)))
            waited_s = time.monotonic() - started
            await up(0)
            started = time.monotonic()
            assert await announce(one, 50) == set(range(1, 51))
            assert 0.4 <= waited_s < 0.5 + RETRY_S
            assert time.monotonic() - started < 0.4
        finally:
            server.process.send_signal(signal.SIGCONT)
        await up()


async def test_a_server_that_can_be_read_but_not_written_is_away(
    server: RedisServer, settings: PeerStoreSettings, said: Said
) -> None:
    async with store(settings) as one, server.client() as client:
        await announce(one, 1)
        await client.config_set("min-replicas-to-write", 1)
        await announce(one, 2)
        await up(0)
        before = failures()

        async def tried() -> bool:
            return failures() > before

        await until(tried, SOON_S)
        assert events(said) == ["found", "lost"]
        await client.config_set("min-replicas-to-write", 0)
        await up()


def bulk(content: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(content), content)


LIES = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    b"*2\r\n:5\r\n$-1\r\n",
    b"*2\r\n:5\r\n" + bulk(b"[[1]]"),
    b"*2\r\n:5\r\n" + bulk(b"nonsense"),
    b"*2\r\n$1\r\n5\r\n" + bulk(b"[]"),
    b"*1\r\n:5\r\n",
    b"*1\r\n" * 100_000,
    b"*-9\r\n",
    b":not a number\r\n",
    b"$-9\r\n",
    b"$999999999999\r\n",
    b"+" + b"a" * 1_000_000,
    b"-ERR no\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-NOSCRIPT No matching script.\r\n",
    b"",
]


@asynccontextmanager
async def liar(lie: bytes, truths: int) -> AsyncIterator[str]:
    """A server that answers so many commands as Redis would, and then everything with ``lie``."""

    serving = dict[asyncio.StreamWriter, asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[writer] = asyncio.current_task()
        left = truths
        while line := await reader.readline():
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                command = (await reader.readexactly(size + 2)).upper()
                left -= command in {b"SCRIPT\r\n", b"EVALSHA\r\n"}
                if command.startswith((b"SCRIPT", b"EVALSHA")):
                    truth = b"*2\r\n:1\r\n" + bulk(b"[]") if command[0] == 69 else bulk(b"a" * 40)
                    writer.write(truth if left >= 0 else lie)
                elif command == b"CLIENT\r\n":
                    writer.write(b"+OK\r\n")

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    for writer, task in serving.items():
        writer.transport.abort()
        if task is not None:
            await asyncio.wait([task])


@pytest.mark.parametrize("truths", [0, 2], ids=["at once", "later"])
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: repr(lie[:12]))
async def test_a_server_that_answers_garbage_is_one_that_is_away(lie: bytes, truths: int) -> None:
    before = failures()
    async with liar(lie, truths) as url, store(PeerStoreSettings(url=url, timeout_s=0.1)) as one:
        assert await announce(one, 1) == {1}
        assert await announce(one, 2) == {1, 2}

        async def seen() -> bool:
            return failures() > before

        await until(seen, SOON_S)


async def test_a_password_is_asked_for_read_from_its_file_each_time_and_never_told(
    tmp_path: Path, said: Said
) -> None:
    file = tmp_path / "credentials"
    async with redis(tmp_path / "redis", requirepass=PASSWORD) as server:
        settings = PeerStoreSettings(url=server.url, credentials=str(file), timeout_s=2.0)
        told_of = repr(settings)
        async with server.client() as client:
            for wrong in (None, "", PASSWORD, f"default:not-{PASSWORD}", f"nobody:{PASSWORD}"):
                if wrong is not None:
                    file.write_text(wrong)
                async with store(settings) as one:
                    assert await announce(one, 1) == {1}
                    assert await client.keys("*") == []
            async with store(replace(settings, credentials="")) as one:
                assert await announce(one, 1) == {1}
                assert await client.keys("*") == []
        assert events(said) == ["lost"] * 6
        assert PASSWORD not in told_of + repr(said)
        file.write_text(f"default:{PASSWORD}\n")
        async with store(settings) as one, store(settings) as other:
            await announce(one, 1)
            assert await announce(other, 2) == {1, 2}


async def test_a_user_who_may_do_what_the_docs_name_and_no_more_will_do(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"octopull:{PASSWORD}\n")
    rules = re.search(r"^user octopull (.*)$", CLUSTER_DOCS.read_text(), re.MULTILINE)
    assert rules is not None
    may = rules[1].replace("a-long-password", PASSWORD)
    async with redis(tmp_path / "redis", **{"user octopull": may}) as server:
        settings = PeerStoreSettings(url=server.url, credentials=str(file), timeout_s=2.0)
        async with store(settings) as one, store(settings) as other:
            await announce(one, 1)
            assert await announce(other, 2) == {1, 2}


async def test_a_server_that_has_tls_is_one_that_the_authorities_vouch_for(tmp_path: Path) -> None:
    files, others = certificate(tmp_path), certificate(tmp_path, "another")
    tls = {"tls-port": "0", "tls-cert-file": files.certificate, "tls-key-file": files.key,
           "tls-auth-clients": "no"}  # fmt: skip
    async with redis(tmp_path / "redis", **tls) as server:
        await server.kill()
        server.config |= {"tls-port": str(server.port), "port": "0"}
        await server.start()
        url = f"rediss://localhost:{server.port}/1"
        settings = PeerStoreSettings(url=url, authorities=files.certificate, timeout_s=2.0)
        async with store(settings) as one, store(settings) as other:
            await announce(one, 1)
            assert await announce(other, 2) == {1, 2}
        for distrusted in (
            replace(settings, authorities=others.certificate),
            replace(settings, authorities=""),
        ):
            async with store(distrusted) as one:
                assert await announce(one, 3) == {3}


async def test_what_a_person_must_mend_is_said_at_the_start(
    settings: PeerStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misuse, match="authorities"):
        async with store(replace(settings, authorities="/nowhere.pem")):
            pass
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(Misuse, match=r"pip install 'octopull\[redis\]'"):
        async with store(settings):
            pass


async def test_a_socket_will_do(server: RedisServer, settings: PeerStoreSettings) -> None:
    by_socket = replace(settings, url=f"unix://{server.socket}?db=0")
    async with store(settings) as one, store(by_socket) as other:
        await announce(one, 1)
        assert await announce(other, 2) == {1, 2}


async def test_clusters_of_another_prefix_do_not_see_each_other(
    settings: PeerStoreSettings,
) -> None:
    async with store(settings) as one, store(replace(settings, prefix="other:")) as other:
        await announce(one, 1)
        assert await announce(other, 2) == {2}


async def test_nothing_stays_behind_in_the_server(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    async with store(settings, ttl_s=0.5) as one, server.client() as client:
        await announce(one, 1, status(), status("b" * 64, complete=True))
        assert len(await client.keys("octopull:peers:*")) == 2
        for key in await client.keys("*"):
            assert 0 < await client.pttl(key) <= 500

        async def is_empty() -> bool:
            return await client.dbsize() == 0

        await until(is_empty, SOON_S)


async def test_a_peer_that_fell_silent_leaves_a_swarm_that_goes_on(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    async with store(settings, ttl_s=0.5) as one, server.client() as client:
        await announce(one, 1)

        async def alone() -> bool:
            await announce(one, 2)
            (key,) = await client.keys("octopull:peers:*")
            return await client.zcard(key) == 1

        await until(alone, SOON_S)


async def test_announces_that_come_together_share_round_trips(
    server: RedisServer, settings: PeerStoreSettings
) -> None:
    swarms = [status(f"{number:064x}") for number in range(ERRANDS_MAX)]
    async with store(settings) as one:
        before = trips()
        await announce(one, 0, *swarms)
        assert trips() - before == 1
        await asyncio.gather(*(announce(one, number) for number in range(1, 101)))
        assert trips() - before <= 3
        async with server.client() as client:
            assert await client.zcard(f"octopull:peers:1:{SWARM}") == 100


async def test_a_swarm_in_the_server_is_bounded_and_so_is_what_is_read_of_it(
    server: RedisServer, settings: PeerStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "MEMBERS_MAX", 1500)
    links = [RedisLink(settings, name, 30_000) for name in ("first", "second")]
    table = PeerTable(TTL_S)
    for number in range(4000):
        table.announce(SWARM, peer(number), 0.0, complete=False)
    members = list(table.swarm(SWARM).members.items())
    try:
        for link in links:
            await link.open()
        for at in range(0, 4000, 500):
            await links[0].exchange(Batch(1, {SWARM: Errand(dict(members[at : at + 500]))}))
        async with server.client() as client:
            (key,) = await client.keys("octopull:peers:*")
            assert await client.zcard(key) == 1500
        look = Batch(2, {SWARM: Errand({}, 0)}, looks=1)
        cursor, answer = (await links[1].exchange(look))[SWARM]
        assert answer.count(b'"first"') == HEARD_OF_SWARM_MAX
        # The newest, and what is told later is all there is to read from then on.
        assert told("first", members[-1][1])[1:] in answer
        await links[0].exchange(Batch(3, {SWARM: Errand(dict(members[:1]))}))
        look = Batch(4, {SWARM: Errand({}, cursor + 1)}, looks=1)
        _, answer = (await links[1].exchange(look))[SWARM]
        assert answer.count(b'"first"') == 1
        assert told("first", members[0][1])[1:] in answer
    finally:
        for link in links:
            await link.close()
