"""A ``PeerStore`` that trackers share by a Redis or Valkey server.

Every tracker keeps a table of its own and answers from it; the server is how it hears of what the
others were told. So nothing is lost with the server but that: while it is away, each tracker knows
what it was told itself, announces wait for nothing, and the server is tried again every second.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from octopull.clients.tracker import SwarmStatus
from octopull.config.peer_store import PeerStoreSettings
from octopull.kernel.errors import Fault
from octopull.kernel.peers import Peer
from octopull.observability import logs, metrics
from octopull.placement import sharing
from octopull.placement.peer_table import PeerTable, Swarm
from octopull.placement.sharing import Batch, Sharing
from octopull.runtime.tasks import Tasks, happens
from octopull.services.tracker.redis_link import RedisLink

log = logs.get("tracker")
RETRY_S = 1.0
"""Between two attempts at a server that is away; a connection a second is no burden to it."""

GATHER_S = 0.005
"""At least so long between two round trips, each of which costs as much as an announce: what comes
meanwhile shares the next.
"""

IDLE_S = 1.0
"""After so long without an announce the server is looked at, so that the next finds out nothing."""

STORE = "redis"


class RedisPeers:
    """Announces wait for their round trip, which they share with those that come meanwhile."""

    def __init__(self, sharing: Sharing, link: RedisLink, timeout_s: float) -> None:
        self._sharing = sharing
        self._link = link
        self._timeout_s = timeout_s
        self._is_up: bool | None = None
        self._tried = asyncio.Event()
        self._due = asyncio.Event()
        self._done: dict[int, asyncio.Event] = {}

    async def announce(self, peer: Peer, swarms: Sequence[SwarmStatus], now: float) -> None:
        last: Batch | None = None
        for swarm in swarms:
            self._sharing.table.announce(swarm.info_hash, peer, now, complete=swarm.complete)
            if self._is_up:
                asks = swarm.wants > 0 and not swarm.complete
                last = self._sharing.gather(swarm.info_hash, peer.id, now, asks=asks) or last
        if last is not None:
            self._due.set()
            # Batches have their turns in order, so with the last all are done.
            await happens(self._done.setdefault(last.number, asyncio.Event()), self._timeout_s)

    def swarm(self, info_hash: str) -> Swarm:
        return self._sharing.table.swarm(info_hash)

    def expire(self, now: float) -> None:
        self._sharing.table.expire(now)

    async def run(self) -> None:
        """Keep up with the server until cancelled."""
        try:
            while True:
                try:
                    await self._keep_up()
                except (Fault, TimeoutError) as fault:
                    self._lost(str(fault) or "it did not answer in time")
                await self._link.close()
                await asyncio.sleep(RETRY_S)
        finally:
            # However it ends, nobody may wait for a server that nobody speaks to.
            self._release()
            await self._link.close()

    async def tried(self) -> None:
        """Returns when it is known whether the server is there."""
        await happens(self._tried, self._timeout_s)

    async def _keep_up(self) -> None:
        async with asyncio.timeout(self._timeout_s):
            await self._link.open()
        if self._is_up is not True:
            log.info("peer_store.found", store=STORE)
        self._is_up = True
        self._tried.set()
        metrics.PEER_STORE_UP.labels(STORE).set(1)
        while True:
            if (batch := self._sharing.take()) is not None:
                again = time.monotonic() + GATHER_S
                await self._exchange(batch)
                await asyncio.sleep(again - time.monotonic())
                continue
            self._due.clear()
            await happens(self._due, IDLE_S)
            if not self._due.is_set():
                async with asyncio.timeout(self._timeout_s):
                    await self._link.probe()

    async def _exchange(self, batch: Batch) -> None:
        started = time.monotonic()
        async with asyncio.timeout(self._timeout_s):
            answers = await self._link.exchange(batch)
        now = time.monotonic()
        metrics.PEER_STORE_SECONDS.labels(STORE).observe(now - started)
        metrics.PEER_STORE_WORDS.labels(STORE, "told").inc(batch.words)
        for info_hash, (cursor, answer) in answers.items():
            words = sharing.heard(answer)
            metrics.PEER_STORE_WORDS.labels(STORE, "heard").inc(len(words))
            self._sharing.hear(info_hash, cursor, words, now)
        if (done := self._done.pop(batch.number, None)) is not None:
            done.set()

    def _lost(self, reason: str) -> None:
        """The server is of no use now."""
        if self._is_up is not False:
            log.warning("peer_store.lost", store=STORE, reason=reason)
        metrics.PEER_STORE_FAILURES.labels(STORE).inc()
        self._release()

    def _release(self) -> None:
        """Whoever waits for the server goes on, and nobody else will."""
        self._is_up = False
        self._tried.set()
        metrics.PEER_STORE_UP.labels(STORE).set(0)
        self._sharing.forget(time.monotonic())
        for done in self._done.values():
            done.set()
        self._done.clear()


@asynccontextmanager
async def opened_redis(
    settings: PeerStoreSettings, table: PeerTable, look_s: float = sharing.LOOK_S
) -> AsyncIterator[RedisPeers]:
    """The peers that are shared at ``settings.url``, which need not be up.

    Raises:
        Misuse: redis is not installed, or the authorities can't be read.

    """
    link = RedisLink(settings, secrets.token_hex(8), math.ceil(table.ttl_s * 1000))
    peers = RedisPeers(Sharing(table, look_s), link, settings.timeout_s)
    async with Tasks() as tasks:
        tasks.start(peers.run(), "share peers")
        await peers.tried()
        yield peers
