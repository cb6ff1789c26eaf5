"""A cluster on trial: its clients, what befalls it, what they saw, and the verdict."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from support.chaos import mishaps
from support.chaos.availability import Availability, weighed
from support.chaos.books import Books
from support.chaos.client import Noted
from support.chaos.disks import Disks
from support.chaos.harm import Harm, possible
from support.chaos.history import History
from support.chaos.lab import Lab
from support.chaos.mishaps import Mishap
from support.chaos.verdict import Verdict, judged
from support.chaos.workload import Workload
from support.production import Production, Shape


@dataclass
class Told:
    """What one run gave."""

    seed: int
    length_s: float
    operations: Counter[str] = field(default_factory=Counter[str])
    mishaps: Counter[str] = field(default_factory=Counter[str])
    verdict: Verdict = field(default_factory=Verdict)
    available: dict[str, Availability] = field(default_factory=dict[str, Availability])


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a seed gives; ``team`` owns the repositories."""

    seed: int
    length_s: float
    shape: Shape
    team: str = "team"

    @property
    def courses(self) -> list[Sequence[Mishap]]:
        """What befalls each kind of node."""
        seed = self.seed if self.team == "team" else f"{self.seed} {self.team}"
        return list(mishaps.drawn(seed, self.shape.counts, self.length_s, possible()).values())


class Trial:
    """Of ``cluster`` in ``lab``, as ``drawn``; ``now`` says how many seconds it has gone on."""

    def __init__(
        self, drawn: Drawn, cluster: Production, lab: Lab, session: aiohttp.ClientSession,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.noted = Noted(session, History(now), Books())
        self.disks = Disks(cluster.origins, drawn.shape.replicas)
        self._drawn = drawn
        self._harm = Harm(cluster, lab, self.noted.history, self.disks, self.noted.books.blobs)
        self._work = Workload(
            drawn.seed, cluster, self.noted, self._harm.harmed, self._harm.damaged, drawn.team
        )

    async def begin(self) -> None:
        """Start all nodes, and push what is to be pulled later."""
        await self.cluster.start(*self.cluster.nodes)
        await self._work.stock()

    async def suffer(self) -> None:
        """Clients work, and things befall the cluster; all is undone in the end."""
        async with self._work.running(), asyncio.TaskGroup() as tasks:
            for course in self._drawn.courses:
                tasks.create_task(self._harm.befall(course))

    async def told(self) -> Told:
        """Ask for everything, and judge."""
        verdict = await judged(self.cluster, self.noted, self.disks)
        verdict.broken += self._harm.broken
        verdict.unrepaired += self._harm.spared
        history = self.noted.history
        alone = self._drawn.shape.tag_indexes == 1
        return Told(
            self._drawn.seed, history.now(),
            Counter(f"{one.action} {one.outcome}" for one in history.operations),
            Counter(f"{one.kind} {one.way}" for one in history.spells),
            verdict,
            weighed(self._work.asked, history.spells, sole_index=alone),
        )  # fmt: skip


@contextmanager
def ended(cluster: Production) -> Iterator[Production]:
    """A cluster of which no process is left in the end: one would hold its host."""
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            if node.alive:
                node.kill()
