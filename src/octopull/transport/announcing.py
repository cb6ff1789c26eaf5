"""Announces of all swarms of a host, batched into few requests."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from octopull.kernel.errors import Fault
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.swarm.events import AnnounceFailed, Discovered
from octopull.transport.swarm import Swarm

log = logs.get("transport")
GATHER_S = 0.01
"""How long a first announce waits for others to share its request."""

BATCH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a tracker answered: peers by info hash, and when to ask again."""

    interval_s: float
    peers: dict[str, tuple[Peer, ...]]


Introduce = Callable[[Sequence[Swarm]], Awaitable[Introduction]]


class Announcing:
    """Gathers swarms that want to announce, and asks for all of them at once."""

    def __init__(self, tasks: Tasks, introduce: Introduce) -> None:
        self._tasks = tasks
        self._introduce = introduce
        self._due: dict[str, Swarm] = {}
        self._gathering = False

    def want(self, swarm: Swarm) -> None:
        """Announce ``swarm`` soon."""
        self._due[swarm.outline.info_hash] = swarm
        if not self._gathering:
            self._gathering = True
            self._tasks.start(self._gather(), "announce")

    async def _gather(self) -> None:
        await asyncio.sleep(GATHER_S)
        self._gathering = False
        due, self._due = list(self._due.values()), {}
        for start in range(0, len(due), BATCH_MAX):
            await self._ask(due[start : start + BATCH_MAX])

    async def _ask(self, swarms: Sequence[Swarm]) -> None:
        try:
            answer = await self._introduce(swarms)
        except Fault as fault:
            log.warning("announce.failed", reason=str(fault), swarms=len(swarms))
            for swarm in swarms:
                swarm.tell(AnnounceFailed())
            return
        for swarm in swarms:
            peers = answer.peers.get(swarm.outline.info_hash, ())
            swarm.tell(Discovered(peers, answer.interval_s))
