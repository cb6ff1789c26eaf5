"""What every peer store does: one suite for the port ``PeerStore``.

Each store comes as two: what one tracker is told, another that shares the store knows. Memory is
shared with nobody but itself.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from octopull.clients.tracker import SWARMS_MAX, SwarmStatus
from octopull.config.peer_store import PeerStoreSettings
from octopull.kernel.peers import Peer, PeerKind
from octopull.placement.handout import handout
from octopull.placement.peer_table import PeerTable
from octopull.services.tracker.memory_peers import MemoryPeers
from octopull.services.tracker.peer_stores import PeerStore
from octopull.services.tracker.redis_peers import opened_redis
from support.servers.redis import redis as running

TTL_S = 30.0
SWARM, OTHER = "a" * 64, "b" * 64


@dataclass
class Two:
    """Two trackers' views of one store, used in turn."""

    stores: tuple[PeerStore, PeerStore]

    async def announce(self, at: int, peer: Peer, *swarms: SwarmStatus) -> float:
        """Tell one of them; when that was."""
        now = time.monotonic()
        await self.stores[at].announce(peer, swarms, now)
        return now

    async def known(self, at: int, info_hash: str = SWARM) -> dict[Peer, bool]:
        """Whom one of them knows, once a stranger has asked it; and who is complete."""
        await self.announce(at, peer(9999), leeching(info_hash))
        members = self.stores[at].swarm(info_hash).members.values()
        return {one.peer: one.complete for one in members if one.peer != peer(9999)}


Maker = Callable[[Path], AbstractAsyncContextManager[Two]]


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Two]:
    del folder
    one = MemoryPeers(PeerTable(TTL_S))
    yield Two((one, one))


@asynccontextmanager
async def served(folder: Path, program: str) -> AsyncIterator[Two]:
    async with running(folder, program) as server, AsyncExitStack() as stack:
        settings = PeerStoreSettings(url=server.url, timeout_s=2.0)
        first, second = [
            await stack.enter_async_context(opened_redis(settings, PeerTable(TTL_S), look_s=0))
            for _ in range(2)
        ]
        yield Two((first, second))


def redis(folder: Path) -> AbstractAsyncContextManager[Two]:
    return served(folder, "redis-server")


def valkey(folder: Path) -> AbstractAsyncContextManager[Two]:
    return served(folder, "valkey-server")


MAKERS: list[Maker] = [memory, redis, valkey]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    async with request.param(tmp_path) as made:
        yield made


def peer(number: int, zone: str = "", host: str = "10.0.0.1") -> Peer:
    return Peer(id=f"{number:040x}", host=host, port=1 + number, kind=PeerKind.AGENT, zone=zone)


def leeching(info_hash: str = SWARM, *, complete: bool = False) -> SwarmStatus:
    return SwarmStatus(
        info_hash=info_hash, digest=f"sha256:{info_hash}", namespace="a", complete=complete, wants=9
    )


def seeding(info_hash: str = SWARM) -> SwarmStatus:
    return leeching(info_hash, complete=True)


async def test_an_announce_that_was_answered_is_known_everywhere(two: Two) -> None:
    await two.announce(0, peer(1, "zone"), leeching())
    await two.announce(0, peer(2), seeding())
    await two.announce(1, peer(3), leeching())
    expected = {peer(1, "zone"): False, peer(2): True, peer(3): False}
    assert await two.known(1) == expected
    assert await two.known(0) == expected


async def test_swarms_are_apart_and_nobody_is_in_one_that_was_never_heard_of(two: Two) -> None:
    await two.announce(0, peer(1), leeching())
    await two.announce(0, peer(2), leeching(OTHER))
    assert await two.known(1) == {peer(1): False}
    assert await two.known(1, OTHER) == {peer(2): False}
    assert await two.known(1, "c" * 64) == {}
    assert not two.stores[1].swarm("d" * 64).members


async def test_the_last_word_of_a_peer_counts_wherever_it_was_said(two: Two) -> None:
    await two.announce(0, peer(1), leeching())
    assert await two.known(1) == {peer(1): False}
    await two.announce(1, peer(1), seeding())
    assert await two.known(0) == {peer(1): True}
    await two.announce(0, peer(1, "elsewhere", "10.0.0.2"), leeching())
    assert await two.known(1) == {peer(1, "elsewhere", "10.0.0.2"): False}
    assert await two.known(0) == {peer(1, "elsewhere", "10.0.0.2"): False}


async def test_a_peers_word_counts_for_its_time_and_no_longer(two: Two) -> None:
    told = await two.announce(0, peer(1), leeching())
    await two.known(1)
    soon = await two.announce(1, peer(2), seeding())
    for store in two.stores:
        until = store.swarm(SWARM).members[peer(1).id].until
        # Redis counts from when it hears of it, in microseconds.
        assert told + TTL_S - 0.001 <= until <= soon + TTL_S
    for store in two.stores:
        store.expire(told + TTL_S - 1)
        assert peer(1).id in store.swarm(SWARM).members
    for store in two.stores:
        store.expire(time.monotonic() + TTL_S)
        assert not store.swarm(SWARM).members


async def test_one_announce_tells_of_as_many_swarms_as_it_may(two: Two) -> None:
    swarms = [f"{number:064x}" for number in range(SWARMS_MAX)]
    await two.announce(0, peer(1), *map(seeding, swarms))
    await two.announce(1, peer(2), *map(leeching, swarms))
    for info_hash in swarms:
        assert set(two.stores[1].swarm(info_hash).members) == {peer(1).id, peer(2).id}


async def test_whoever_is_asked_names_the_same_peers(two: Two) -> None:
    peers = [peer(number, zone=f"zone-{number % 3}") for number in range(60)]
    for number, one in enumerate(peers):
        await two.announce(number % 2, one, seeding() if number % 4 == 0 else leeching())
    named = []
    for at in range(2):
        assert len(await two.known(at)) == len(peers)
        found = {
            one.peer: one.complete
            for seed in range(60)
            for one in handout(peers[0], two.stores[at].swarm(SWARM), 20, time.monotonic(),
                               Random(seed).randrange)
        }  # fmt: skip
        assert peers[0] not in found
        named.append(found)
    assert named[0] == named[1]
