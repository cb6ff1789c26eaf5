"""Two trackers: the peers of a swarm meet at one, and at the other while that is away.

If they share a store, whichever is asked knows them all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from octopull.clients.tracker import AnnounceReply, AnnounceRequest, SwarmStatus, TrackerClient
from octopull.config.peer_store import PeerStoreSettings
from octopull.config.services import Listen, TrackerConfig
from octopull.http.client import Http
from octopull.kernel.errors import Unavailable
from octopull.kernel.peers import Peer, PeerKind
from octopull.services.tracker.app import run
from support.ports import free_ports
from support.servers.redis import redis
from support.services import started

SWARMS = [f"{number:064x}" for number in range(40)]


class Trackers:
    """Two of them, and hosts that know them in any order."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.ports = free_ports(2)
        self._hosts = [f"127.0.0.1:{port}" for port in self.ports]
        self.store = PeerStoreSettings()
        self.clients = [TrackerClient(http, self._hosts), TrackerClient(http, self._hosts[::-1])]

    @asynccontextmanager
    async def running(self, number: int) -> AsyncIterator[None]:
        config = TrackerConfig(
            origins=["127.0.0.1:1"], listen=Listen(port=self.ports[number]), peer_store=self.store
        )  # fmt: skip
        async with started(run, config):
            yield

    async def known_to(self, number: int) -> list[str]:
        """The swarms of which one tracker knows peers."""
        alone = TrackerClient(self._http, [self._hosts[number]])
        heard = await self.announce(2, alone)
        return [key for key, peers in heard.swarms.items() if peers]

    async def announce(self, host: int, client: TrackerClient | None = None) -> AnnounceReply:
        """A host tells of all swarms; 0 and 1 have clients of their own."""
        client = client or self.clients[host]
        peer = Peer(id=f"{host:040x}", host="127.0.0.1", port=1000 + host, kind=PeerKind.AGENT)
        told = [
            SwarmStatus(
                info_hash=one, digest=f"sha256:{one}", namespace="a", complete=False, wants=5
            )
            for one in SWARMS
        ]
        return await client.announce(AnnounceRequest(peer=peer, swarms=told))

    async def meet(self) -> None:
        """Both hosts announce; in every swarm one hears of the other."""
        await self.announce(0)
        heard = await self.announce(1)
        assert {key: [peer.port for peer in peers] for key, peers in heard.swarms.items()} == {
            key: [1000] for key in SWARMS
        }


@pytest.fixture
def trackers(http: Http) -> Trackers:
    return Trackers(http)


async def test_each_swarm_meets_at_one_of_them_and_both_have_some(trackers: Trackers) -> None:
    async with trackers.running(0), trackers.running(1):
        await trackers.meet()
        known = [await trackers.known_to(number) for number in range(2)]
    assert all(known)
    assert sorted(key for keys in known for key in keys) == SWARMS


async def test_while_one_is_away_all_meet_at_the_other(trackers: Trackers) -> None:
    async with trackers.running(1), AsyncExitStack() as first:
        await first.enter_async_context(trackers.running(0))
        await trackers.meet()
        await first.aclose()
        await trackers.meet()


async def test_with_a_shared_store_each_knows_the_peers_of_every_swarm(
    trackers: Trackers, tmp_path: Path
) -> None:
    async with redis(tmp_path / "redis") as server:
        trackers.store = PeerStoreSettings(url=server.url, timeout_s=2.0)
        async with trackers.running(0), trackers.running(1):
            await trackers.meet()
            for number in range(2):
                assert sorted(await trackers.known_to(number)) == SWARMS


async def test_with_a_shared_store_a_tracker_that_was_away_knows_them_at_once(
    trackers: Trackers, tmp_path: Path
) -> None:
    async with redis(tmp_path / "redis") as server:
        trackers.store = PeerStoreSettings(url=server.url, timeout_s=2.0)
        async with trackers.running(0):
            await trackers.announce(0)
        async with trackers.running(0):
            assert sorted(await trackers.known_to(0)) == SWARMS


async def test_nobody_is_heard_while_both_are_away(trackers: Trackers) -> None:
    with pytest.raises(Unavailable):
        await asyncio.wait_for(trackers.announce(0), 10)
