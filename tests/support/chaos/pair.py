"""Two clusters that replicate to each other, harmed as one is, with the link between them cut."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from octopull.http.client import Http
from support.chaos import client
from support.chaos.forks import Forks
from support.chaos.lab import Lab
from support.chaos.likeness import differing
from support.chaos.run import LENGTH_S, SHAPE
from support.chaos.trial import Drawn, Told, Trial, ended
from support.chaos.verdict import Verdict
from support.production import Production, Shape, planned
from support.replicating import remote, rules

PAIR = SHAPE.having(trackers=1, proxies=1, agents=2)
"""As many as two cores bear twice."""

SIDES = ("east", "west")
CUT_EVERY_S, CUT_FOR_S = (0.5, 2.0), (1.0, 4.0)


async def run(
    folder: Path, forks: Forks, seed: int, length_s: float = LENGTH_S, shape: Shape = PAIR,
    say: Callable[[str], None] = lambda _: None,
) -> Told:  # fmt: skip
    """As ``run.run``, of two; each has repositories of its own, which go to the other."""
    started_s = time.monotonic()

    def now() -> float:
        return time.monotonic() - started_s

    async with Http() as http, client.session() as session:
        with Lab(folder, forks) as lab, _planned(folder, http, shape, lab) as clusters:
            trials = [
                Trial(Drawn(seed=seed, length_s=length_s, shape=shape, team=side),
                      cluster, lab, session, now)
                for side, cluster in zip(SIDES, clusters, strict=True)
            ]  # fmt: skip
            say(f"seed {seed}: two clusters of {len(clusters[0].nodes)} nodes start")
            await asyncio.gather(*(trial.begin() for trial in trials))
            say(f"{now():.0f} s: they are harmed, and so is their link")
            cuts = asyncio.create_task(_cut_by_turns(seed, lab, clusters, length_s))
            await asyncio.gather(*(trial.suffer() for trial in trials))
            await cuts
            say(f"{now():.0f} s: all is healed, and everything is asked for")
            east, west = trials
            verdict = Verdict(differing=[
                *await differing(east.noted, east.cluster, west.cluster),
                *await differing(west.noted, west.cluster, east.cluster),
            ])  # fmt: skip
            tolds = [await trial.told() for trial in trials]
    for told in tolds:
        for kind, found in vars(told.verdict).items():
            getattr(verdict, kind).extend(found)
    say(f"{now():.0f} s: {'nothing' if verdict.good else 'something'} was wrong")
    operations, mishaps = Counter[str](), Counter[str]()
    for told in tolds:
        operations.update(told.operations)
        mishaps.update(told.mishaps)
    return Told(seed, now(), operations, mishaps, verdict)


@contextmanager
def _planned(folder: Path, http: Http, shape: Shape, lab: Lab) -> Iterator[list[Production]]:
    with ExitStack() as stack:
        clusters = [
            stack.enter_context(ended(planned(folder, http, shape, lab.place, f"{side}-")))
            for side in SIDES
        ]
        for side, cluster, other in zip(SIDES, clusters, reversed(clusters), strict=True):
            there = remote("other", f"http://{other.proxies[0].address}", timeout_s=5.0)
            settings = rules(folder / f"{side}.yaml", there, deletes=True)
            for index in cluster.tag_indexes:
                index.settings["replication"] = asdict(settings)
        yield clusters


async def _cut_by_turns(seed: int, lab: Lab, clusters: list[Production], length_s: float) -> None:
    """Now and then nothing passes between what tells and what is told."""
    chance, ends_s = random.Random(f"{seed} link"), time.monotonic() + length_s
    here, there = clusters
    pairs = [
        (index.name, proxy.name)
        for one, other in ((here, there), (there, here))
        for index in one.tag_indexes
        for proxy in other.proxies
    ]
    while time.monotonic() < ends_s:
        await asyncio.sleep(chance.uniform(*CUT_EVERY_S))
        for index, proxy in pairs:
            lab.part(index, [proxy])
        await asyncio.sleep(chance.uniform(*CUT_FOR_S))
        for index, proxy in pairs:
            lab.join(index, [proxy])
