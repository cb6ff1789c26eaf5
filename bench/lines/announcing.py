"""Announces at one tracker process, against a handler of the same server that does nothing."""

import asyncio
import json
import random
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness import load, ours, rivals
from harness.ours import Meter
from harness.pairs import Line, Sample, Sides
from support.ports import free_port

HOSTS = 15_000
SWARMS = 200
IDENTITY_BYTES = 300
COUNT = 20_000
"""Announces per run."""

PACE_PER_S = 3_000
FLEET_PER_S = HOSTS / 3
"""What the hosts send by default, each every three seconds ..."""

FLEET_COUNT = int(20 * FLEET_PER_S)
"""... for twenty seconds, in which each is told of to the store twice."""
NEWCOMER_WANTS = 30
CONNECTED_WANTS = 3
"""What a leecher with all its connections asks for, every few seconds."""


def announces(seed: int, wants: int = NEWCOMER_WANTS) -> list[bytes]:
    """One announce of each host, in a swarm of its own choice, as an HTTP request."""
    chance = random.Random(seed)
    return [
        load.post("/announce", _announce(host, chance.randrange(SWARMS), wants))
        for host in range(HOSTS)
    ]


def _announce(host: int, swarm: int, wants: int) -> bytes:
    name = sha256(f"host {host}".encode()).hexdigest()
    peer = {"id": name[:40], "host": f"{host}.hosts.example", "port": 6881, "kind": "agent",
            "zone": "zone"}  # fmt: skip
    peer["host"] = "h" * (IDENTITY_BYTES - len(json.dumps(peer))) + str(peer["host"])
    digest = sha256(f"swarm {swarm}".encode()).hexdigest()
    status = {"info_hash": digest, "digest": f"sha256:{digest}", "namespace": "bench",
              "complete": host % 4 == 0, "wants": wants}  # fmt: skip
    return json.dumps({"peer": peer, "swarms": [status]}).encode()


@contextmanager
def _rate(folder: Path, wants: int) -> Iterator[Sides]:
    """Announces per second, as many as it takes."""
    with _services(folder) as (tracker, noop, meter):
        requests = announces(1, wants)

        def flood(url: str) -> Sample:
            return Sample(asyncio.run(load.flood(url, requests, COUNT)))

        yield Sides(lambda: flood(tracker), lambda: flood(noop), meter.rss_mib)


@contextmanager
def _latency(folder: Path) -> Iterator[Sides]:
    """The 99th percentile of the time to an answer, at a steady pace."""
    with _services(folder) as (tracker, noop, meter):
        requests = announces(1)

        def paced(url: str) -> Sample:
            took_s = asyncio.run(load.paced(url, requests, PACE_PER_S, COUNT))
            return Sample(statistics.quantiles(took_s, n=100)[98] * 1000)

        yield Sides(lambda: paced(tracker), lambda: paced(noop), meter.rss_mib)


@contextmanager
def _shared_rate(folder: Path) -> Iterator[Sides]:
    """Announces per second of a tracker that tells Redis of every one, against one with memory."""
    with ExitStack() as stack:
        # Their words count for so short a time that hosts are new each time they come.
        fleeting = {"interval_s": 0.2, "peer_ttl_s": 0.4}
        trackers = _trackers(stack, folder, fleeting, count=1)
        requests = announces(1, CONNECTED_WANTS)

        def flood(url: str) -> Sample:
            return Sample(asyncio.run(load.flood(url, requests, COUNT)))

        yield Sides(
            lambda: flood(trackers.shared[0]),
            lambda: flood(trackers.alone[0]),
            trackers.meter.rss_mib,
        )


@contextmanager
def _shared_cpu(folder: Path) -> Iterator[Sides]:
    """CPU of an announce at two trackers that share a Redis, its own included, or each by itself."""
    with ExitStack() as stack:
        trackers = _trackers(stack, folder, {}, count=2)
        requests = announces(1, CONNECTED_WANTS)

        async def fleet(*urls: str) -> None:
            await asyncio.gather(*(
                load.paced(url, requests[at :: len(urls)], FLEET_PER_S / len(urls),
                           FLEET_COUNT // len(urls))
                for at, url in enumerate(urls)
            ))  # fmt: skip

        def cost(meter: Meter, *urls: str) -> Sample:
            meter.start()
            asyncio.run(fleet(*urls))
            return Sample(meter.used_s() / FLEET_COUNT * 1_000_000)

        yield Sides(
            lambda: cost(trackers.meter, *trackers.shared),
            lambda: cost(trackers.meter_alone, *trackers.alone),
            trackers.meter.rss_mib, pairs=2,
        )  # fmt: skip


@dataclass(frozen=True)
class _Trackers:
    """Some by themselves, and as many that share a Redis; ``meter`` is of these and of it."""

    alone: list[str]
    meter_alone: Meter
    shared: list[str]
    meter: Meter


def _trackers(stack: ExitStack, folder: Path, settings: dict[str, float], count: int) -> _Trackers:
    cluster = stack.enter_context(ours.cluster(folder / "cluster"))
    server = stack.enter_context(rivals.redis(folder / "redis"))

    def some(name: str, **more: Any) -> list[ours.Tracker]:
        return [
            stack.enter_context(ours.tracker(folder / f"{name}-{at}", cluster, **settings, **more))
            for at in range(count)
        ]

    alone, sharing = some("alone"), some("sharing", peer_store={"url": server.url})
    return _Trackers(
        [one.url for one in alone], Meter([one.pid for one in alone]),
        [one.url for one in sharing], Meter([server.pid, *(one.pid for one in sharing)]),
    )  # fmt: skip


@contextmanager
def _services(folder: Path) -> Iterator[tuple[str, str, Meter]]:
    """A tracker that knows all hosts already, and the server that does nothing."""
    with ExitStack() as stack:
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        tracker = stack.enter_context(ours.tracker(folder / "tracker", cluster))
        noop = stack.enter_context(_noop(folder / "noop"))
        requests = announces(0)
        asyncio.run(load.flood(tracker.url, requests, len(requests)))
        yield tracker.url, noop, Meter([tracker.pid])


@contextmanager
def _noop(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True)
    port = free_port()
    with rivals.running(folder, f"http://127.0.0.1:{port}", sys.executable,
                        Path(__file__).parents[1] / "noop_server.py", str(port)) as rival:  # fmt: skip
        yield rival.url


LINES = [
    Line("announce", "req/s", "a no-op handler of the same server",
         lambda folder: _rate(folder, CONNECTED_WANTS), ">= 0.5"),
    Line("announce-newcomers", "req/s", "a no-op handler of the same server",
         lambda folder: _rate(folder, NEWCOMER_WANTS), ">= 0.5"),
    Line("announce-p99", "ms", "a no-op handler of the same server", _latency,
         "p99 < 50 ms at 3,000/s"),
    Line("announce-redis", "req/s", "the same in memory", _shared_rate, ">= 0.5"),
    Line("announce-redis-cpu", "us", "the same in memory", _shared_cpu, "<= 1.5"),
]  # fmt: skip
