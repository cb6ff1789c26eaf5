"""One run: a cluster, clients, what befalls it by a seed, and the verdict."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from octopull.http.client import Http
from support.chaos import client, harm, mishaps
from support.chaos.availability import Availability, weighed
from support.chaos.books import Books
from support.chaos.client import Noted
from support.chaos.disks import Disks
from support.chaos.forks import Forks
from support.chaos.harm import Harm
from support.chaos.history import History
from support.chaos.lab import Lab
from support.chaos.verdict import Verdict, judged
from support.chaos.workload import Workload
from support.production import Production, Shape, planned

OFTEN = {
    "repair": {"every_s": 2.0, "settle_s": 1.0}, "scrub_bytes_per_s": 1_000_000_000,
}  # fmt: skip
"""What takes minutes in service takes seconds here."""

SHAPE = Shape(
    origins=3, trackers=2, tag_indexes=3, proxies=2, agents=6, replicas=2,
    origin=OFTEN, agent={"deletions_s": 1.0, "heartbeat_s": 2.0},
)  # fmt: skip
LENGTH_S = 12.0


@dataclass
class Told:
    """What one run gave."""

    seed: int
    length_s: float
    operations: Counter[str] = field(default_factory=Counter[str])
    mishaps: Counter[str] = field(default_factory=Counter[str])
    verdict: Verdict = field(default_factory=Verdict)
    available: dict[str, Availability] = field(default_factory=dict[str, Availability])


async def run(
    folder: Path, forks: Forks, seed: int, length_s: float = LENGTH_S, shape: Shape = SHAPE,
    say: Callable[[str], None] = lambda _: None,
) -> Told:  # fmt: skip
    """Everything of ``seed``; the data and logs are in ``folder``. ``say`` hears how far it is."""
    courses = mishaps.drawn(seed, shape.counts, length_s, harm.possible())
    started_s = time.monotonic()
    async with Http() as http, client.session() as session:
        with Lab(folder, forks) as lab, _planned(folder, http, shape, lab) as cluster:
            history = History(lambda: time.monotonic() - started_s)
            say(f"seed {seed}: {len(cluster.nodes)} nodes start")
            await cluster.start(*cluster.nodes)
            noted = Noted(session, history, Books())
            disks = Disks(cluster.origins, shape.replicas)
            doing = Harm(cluster, lab, history, disks, noted.books.blobs)
            work = Workload(seed, cluster, noted, doing.harmed, doing.damaged)
            await work.stock()
            say(f"{history.now():.0f} s: {sum(map(len, courses.values()))} mishaps")
            async with work.running(), asyncio.TaskGroup() as tasks:
                for course in courses.values():
                    tasks.create_task(doing.befall(course))
            say(f"{history.now():.0f} s: all is healed, and everything is asked for")
            verdict = await judged(cluster, noted, disks)
            verdict.broken += doing.broken
            verdict.unrepaired += doing.spared
    say(f"{history.now():.0f} s: {'nothing' if verdict.good else 'something'} was wrong")
    return Told(
        seed, history.now(),
        Counter(f"{one.action} {one.outcome}" for one in history.operations),
        Counter(f"{one.kind} {one.way}" for one in history.spells),
        verdict,
        weighed(work.asked, history.spells, sole_index=shape.tag_indexes == 1),
    )  # fmt: skip


@contextmanager
def _planned(folder: Path, http: Http, shape: Shape, lab: Lab) -> Iterator[Production]:
    """A cluster of which no process is left in the end: one would hold its host."""
    cluster = planned(folder, http, shape, lab.place)
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            if node.alive:
                node.kill()
