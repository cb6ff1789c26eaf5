"""Manifests and configurations that an agent holds: out of memory, against out of the disk's cache."""

import asyncio
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import load, ours
from harness.content import small_image
from harness.ours import Meter
from harness.pairs import Line, Sample, Sides
from harness.registry import push_image

IMAGES = 50
COUNT = 4000
"""Requests per run."""

PACE_PER_S = 200
PACED = 1000
WITHOUT = {"memory_bytes_max": 0}


@contextmanager
def _sides(
    folder: Path, kind: str, run: Callable[[str, Sequence[bytes]], Sample]
) -> Iterator[Sides]:
    """Two agents of one cluster, which have read all of it once."""
    with ExitStack() as stack:
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        requests = []
        for number in range(IMAGES):
            image = small_image(0, number)
            push_image(cluster.proxy, f"small:{number}", image)
            config = json.loads(image.manifest)["config"]["digest"]
            what = {"manifests": str(number), "blobs": config}[kind]
            requests.append(load.get(f"/v2/small/{kind}/{what}"))
        mine = stack.enter_context(ours.agent(folder / "with", cluster))
        plain = stack.enter_context(ours.agent(folder / "without", cluster, cache=WITHOUT))
        yield Sides(lambda: run(mine.url, requests), lambda: run(plain.url, requests),
                    Meter([mine.pid]).rss_mib)  # fmt: skip


def _rate(url: str, requests: Sequence[bytes]) -> Sample:
    return Sample(asyncio.run(load.flood(url, requests, COUNT)))


def _p50(url: str, requests: Sequence[bytes]) -> Sample:
    took_s = asyncio.run(load.paced(url, requests, PACE_PER_S, PACED))
    return Sample(statistics.median(took_s) * 1000)


RIVAL = "the same without its memory tier"
LINES = [
    Line("hot-manifests", "req/s", RIVAL,
         lambda folder: _sides(folder, "manifests", _rate), ">= 1.0"),
    Line("hot-configs", "req/s", RIVAL,
         lambda folder: _sides(folder, "blobs", _rate), ">= 1.0"),
    Line("hot-manifests-p50", "ms", RIVAL,
         lambda folder: _sides(folder, "manifests", _p50), "<= 1.0"),
    Line("hot-configs-p50", "ms", RIVAL,
         lambda folder: _sides(folder, "blobs", _p50), "<= 1.0"),
]  # fmt: skip
