"""Bandwidth limits: the rate a pull was held to, against the limit that was set."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import ours
from harness.content import MIB, write_blob
from harness.ours import Meter
from harness.pairs import Line, Sample, Sides
from harness.processes import run
from harness.registry import CURL, delete, push_file

SECONDS = 5
MEGABITS = (10, 100, 1000)


@contextmanager
def _sides(folder: Path, direction: str, megabits: int) -> Iterator[Sides]:
    rate = megabits * 1_000_000 // 8
    with ExitStack() as stack:
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        agent = stack.enter_context(ours.agent(folder / "agent", cluster))
        path = folder / "blob"
        digest = write_blob(path, rate * SECONDS, megabits)
        push_file(cluster.proxy, "bench", path, digest)
        origin = f"http://{cluster.document['origins'][0]}"
        change = json.dumps({f"{direction}_bytes_per_s": rate})
        limited = agent.url if direction == "in" else origin
        run(*CURL, "--request", "PATCH", "--data", change, f"{limited}/x/config/bandwidth")

        def pull() -> Sample:
            started = time.monotonic()
            run(*CURL, "--output", "/dev/null", f"{agent.url}/v2/bench/blobs/{digest}")
            took_s = time.monotonic() - started
            delete(agent.url, f"/blobs/{digest}")
            return Sample(rate * SECONDS / MIB / took_s)

        meter = Meter([agent.pid])
        yield Sides(pull, lambda: Sample(rate / MIB), meter.rss_mib, warm_up=False)


def _line(direction: str, megabits: int) -> Line:
    return Line(f"limit-{direction}-{megabits}", "MiB/s", f"the limit, {megabits} Mbit/s",
                lambda folder: _sides(folder, direction, megabits), "0.95 .. 1.05")  # fmt: skip


LINES = [_line(direction, megabits) for direction in ("in", "out") for megabits in MEGABITS]
