"""Blobs that a bucket has: how much memory an origin needs for a large one, and cold pulls."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import ours, stores
from harness.content import MIB, write_blob
from harness.ours import Agent
from harness.pairs import GIB, Line, Sample, Sides
from harness.processes import peak_rss_mib, run
from harness.registry import CURL, call, push_file
from harness.stores import BUCKET, ROOT, Origin
from support import netns
from support.memory import folder_in_memory

LARGE_BYTES = 5 * GIB
RSS_MIB_MAX = 200.0
AGENTS = 8
COLD_BYTES = 512 * MIB
RATE = "200mbit"
WITHIN_S = 600.0
PAUSE_S = 0.2

# An origin and a blob of 5 GiB.


@contextmanager
def _large(folder: Path) -> Iterator[Sides]:
    """5 GiB pushed to an origin, written back, evicted and fetched again; its peak memory."""
    with ExitStack() as stack:
        files = Path(stack.enter_context(folder_in_memory()))
        bucket = stack.enter_context(stores.bucket(folder / "s3", files / BUCKET))
        cache = {"idle_s": 1.0, "scan_s": 1.0}
        origin = stack.enter_context(stores.origin(folder / "origin", bucket.settings, cache=cache))
        digest = write_blob(folder / "blob", LARGE_BYTES, 30)

        def through() -> Sample:
            _push(origin, folder / "blob", digest)
            (folder / "blob").unlink()
            _until(lambda: _written_back(origin.url))
            _until(lambda: not any((folder / "origin" / "data" / "blobs").rglob(_hex(digest))))
            blob = f"/namespace/bench/blobs/{digest}"
            call("POST", origin.url, f"{blob}/fetch?wait_s=10")
            told = run("sh", "-c", f"curl -sSf {origin.url}{blob} | sha256sum")
            assert _hex(digest) in told.output
            return Sample(peak_rss_mib([origin.pid]))

        yield Sides(through, lambda: Sample(RSS_MIB_MAX), lambda: peak_rss_mib([origin.pid]),
                    pairs=1, warm_up=False)  # fmt: skip


def _push(origin: Origin, path: Path, digest: str) -> None:
    uploads = "/namespace/bench/uploads"
    session = f"{uploads}/{call('POST', origin.url, uploads).headers['Location']}"
    run(*CURL, "--request", "PATCH", "--upload-file", path, "--header", "Octopull-Offset: 0",
        "--header", "Expect:", origin.url + session)  # fmt: skip
    call("PUT", origin.url, f"{session}?digest={digest}")


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


# Eight agents, and a bucket behind a slow link.


@contextmanager
def _cold(folder: Path, *, foreign: bool) -> Iterator[Sides]:
    """Until the last of the agents has it; against one download from where the bucket is."""
    with ExitStack() as stack:
        files = Path(stack.enter_context(folder_in_memory()), BUCKET)
        # Of its own, so that tests which run meanwhile are not in the way.
        net = f"10.80.{os.getpid() % 256}"
        link = stack.enter_context(netns.capped_host(RATE, f"{net}.1", f"{net}.2"))
        bucket = stack.enter_context(stores.bucket(folder / "s3", files, link.there, link.prefix))
        digest = write_blob(folder / "blob", COLD_BYTES, 40)
        stored = _fill(folder, files, digest, foreign=foreign)
        peaks_mib = [0.0]

        def pull() -> Sample:
            with ExitStack() as cold, folder_in_memory() as empty:
                data = Path(empty)
                options = bucket.settings.options.items()
                words = [f"--backend-option={name}={value}" for name, value in options]
                cluster = cold.enter_context(
                    ours.cluster(data / "cluster", "--backend", bucket.settings.url,
                                 "--credentials", str(bucket.credentials), *words)
                )  # fmt: skip
                agents = [
                    cold.enter_context(ours.agent(data / f"agent-{number}", cluster))
                    for number in range(AGENTS)
                ]
                took_s = _pull_all(agents, f"/v2/bench/blobs/{digest}", COLD_BYTES)
                peaks_mib.append(peak_rss_mib([cluster.pid]))
                return Sample(took_s)

        def download() -> Sample:
            return Sample(run(*CURL, "--output", "/dev/null", bucket.url(stored)).wall_s)

        yield Sides(pull, download, lambda: max(peaks_mib), pairs=3, warm_up=False)


def _fill(folder: Path, files: Path, digest: str, *, foreign: bool) -> Path:
    """Have a cluster write the blob straight into the bucket's folder; returns where it lies."""
    (files / ROOT).mkdir(parents=True, exist_ok=True)
    with ours.cluster(folder / "filling", "--backend", (files / ROOT).as_uri()) as cluster:
        push_file(cluster.proxy, "bench", folder / "blob", digest)
        origin = f"http://{cluster.document['origins'][0]}"
        _until(lambda: _written_back(origin))
    shutil.rmtree(folder / "filling")
    (stored,) = (files / ROOT).rglob(f"{_hex(digest)}/data")
    beside = [path for path in stored.parent.iterdir() if path != stored]
    assert len(beside) == 1, beside
    if foreign:
        beside[0].unlink()
    return stored


def _pull_all(agents: Sequence[Agent], path: str, size: int) -> float:
    """All at the same moment; seconds until the last one has it."""
    started = time.monotonic()
    pulls = [
        subprocess.Popen(
            [*CURL, "--output", "/dev/null", "--write-out", "%{size_download}", agent.url + path],
            stdout=subprocess.PIPE, text=True,
        )
        for agent in agents
    ]  # fmt: skip
    told = [pull.communicate(timeout=WITHIN_S)[0] for pull in pulls]
    took_s = time.monotonic() - started
    assert told == [str(size)] * len(agents), told
    return took_s


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {WITHIN_S} s")
        time.sleep(PAUSE_S)


def _written_back(origin: str) -> bool:
    """Whether the origin owes its backend nothing."""
    pending: int = json.loads(call("GET", origin, "/write-back").body)["pending"]
    return pending == 0


LINES = [
    Line("origin-5gib", "MiB", "the limit", _large, "< 200 MiB"),
    Line("cold-pull", "s", "curl from the backend",
         lambda folder: _cold(folder, foreign=False), "<= 1.15"),
    Line("cold-pull-foreign", "s", "curl from the backend",
         lambda folder: _cold(folder, foreign=True), "<= 1.15"),
]  # fmt: skip
