"""One run: a cluster, clients, what befalls it by a seed, and the verdict."""

import time
from collections.abc import Callable
from pathlib import Path

from octopull.http.client import Http
from support.chaos import client
from support.chaos.forks import Forks
from support.chaos.lab import Lab
from support.chaos.trial import Drawn, Told, Trial, ended
from support.production import Shape, planned

OFTEN = {
    "repair": {"every_s": 2.0, "settle_s": 1.0}, "scrub_bytes_per_s": 1_000_000_000,
}  # fmt: skip
"""What takes minutes in service takes seconds here."""

SHAPE = Shape(
    origins=3, trackers=2, tag_indexes=3, proxies=2, agents=6, replicas=2,
    origin=OFTEN, agent={"deletions_s": 1.0, "heartbeat_s": 2.0},
)  # fmt: skip
LENGTH_S = 12.0


async def run(
    folder: Path, forks: Forks, seed: int, length_s: float = LENGTH_S, shape: Shape = SHAPE,
    say: Callable[[str], None] = lambda _: None,
) -> Told:  # fmt: skip
    """Everything of ``seed``; the data and logs are in ``folder``. ``say`` hears how far it is."""
    started_s = time.monotonic()

    def now() -> float:
        return time.monotonic() - started_s

    drawn = Drawn(seed=seed, length_s=length_s, shape=shape)
    async with Http() as http, client.session() as session:
        with Lab(folder, forks) as lab, ended(planned(folder, http, shape, lab.place)) as cluster:
            trial = Trial(drawn, cluster, lab, session, now)
            say(f"seed {seed}: {len(cluster.nodes)} nodes start")
            await trial.begin()
            say(f"{now():.0f} s: {sum(map(len, drawn.courses))} mishaps")
            await trial.suffer()
            say(f"{now():.0f} s: all is healed, and everything is asked for")
            told = await trial.told()
    say(f"{now():.0f} s: {'nothing' if told.verdict.good else 'something'} was wrong")
    return told
