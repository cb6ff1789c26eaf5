"""A blob that the agent lacks: the whole of it, its first byte, and many small ones."""

import asyncio
import http.client
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from harness import ours, rivals
from harness.content import MANIFEST, small_image, write_blob
from harness.ours import Meter
from harness.pairs import GIB, Line, Sample, Sides
from harness.processes import peak_rss_mib, run
from harness.registry import CURL, delete, push_file, push_image
from support import netns

IMAGES = 50
LAYERS = 30
AT_ONCE = 4
"""Layers a client fetches at once; docker's and containerd's defaults are 3."""


@contextmanager
def _cold(folder: Path) -> Iterator[Sides]:
    """GET through an agent to a file, against curl from nginx to a file and sha256sum."""
    with ExitStack() as stack:
        files = folder / "nginx" / "files"
        digest = write_blob(files / "blob", GIB, 2)
        nginx = stack.enter_context(rivals.nginx(folder / "nginx"))
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        agent = stack.enter_context(ours.agent(folder / "agent", cluster))
        push_file(cluster.proxy, "bench", files / "blob", digest)
        out = folder / "out"
        mine, theirs = Meter([agent.pid, cluster.pid]), Meter([nginx.pid])

        def pull() -> Sample:
            _settle(out)
            mine.start()
            bill = run(*CURL, "--output", out, f"{agent.url}/v2/bench/blobs/{digest}")
            cached = f"{agent.url}/namespace/bench/blobs/{digest}"
            # The agent's own copy may still be on its way to the disk: that is paid for, too.
            run(*CURL, "--head", cached)
            delete(agent.url, f"/blobs/{digest}")
            return Sample(bill.wall_s, bill.cpu_s + mine.used_s(), GIB)

        def download() -> Sample:
            _settle(out)
            theirs.start()
            got = run(*CURL, "--output", out, f"{nginx.url}/blob")
            checked = run("sha256sum", out)
            assert digest.removeprefix("sha256:") in checked.output
            return Sample(got.wall_s + checked.wall_s, got.cpu_s + checked.cpu_s + theirs.used_s(),
                          GIB)  # fmt: skip

        yield Sides(pull, download, mine.rss_mib)


def _settle(out: Path) -> None:
    """Remove ``out`` and write back what earlier runs left dirty."""
    out.unlink(missing_ok=True)
    os.sync()


@contextmanager
def _first_byte(folder: Path) -> Iterator[Sides]:
    """Behind a link of 200 Mbit/s: the first byte, against a wait for the whole blob."""
    with ExitStack() as stack:
        files = folder / "nginx" / "files"
        digest = write_blob(files / "blob", GIB, 3)
        link = stack.enter_context(netns.capped_host("200mbit"))
        nginx = stack.enter_context(rivals.nginx(folder / "nginx", netns.HERE))
        cluster = stack.enter_context(ours.cluster(folder / "cluster", "--host", netns.HERE))
        push_file(cluster.proxy, "bench", files / "blob", digest)
        peaks_mib = [0.0]

        def first() -> Sample:
            with ours.agent(folder / f"agent-{time.monotonic_ns()}", cluster, netns.THERE,
                            link.prefix) as agent:  # fmt: skip
                started = time.monotonic()
                connection = http.client.HTTPConnection(urlsplit(agent.url).netloc, timeout=60)
                connection.request("GET", f"/v2/bench/blobs/{digest}")
                connection.getresponse().read(1)
                waited_s = time.monotonic() - started
                connection.close()
                peaks_mib.append(peak_rss_mib([agent.pid]))
                return Sample(waited_s)

        def whole() -> Sample:
            bill = run(*link.prefix, *CURL, "--output", "/dev/null", f"{nginx.url}/blob")
            return Sample(bill.wall_s)

        yield Sides(first, whole, lambda: max(peaks_mib), warm_up=False)


@contextmanager
def _small(folder: Path) -> Iterator[Sides]:
    """Images of 30 small layers, each pulled once, by a client that fetches four at a time."""
    with ExitStack() as stack:
        registry = stack.enter_context(rivals.docker_registry(folder / "registry"))
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        agent = stack.enter_context(ours.agent(folder / "agent", cluster))
        for number in range(IMAGES + 1):
            image = small_image(LAYERS, number)
            push_image(registry.url, f"small:{number}", image)
            push_image(cluster.proxy, f"small:{number}", image)
        mine = Meter([agent.pid, cluster.pid])
        counts = {"mine": 0, "theirs": 0}

        def pull(base: str, who: str) -> Sample:
            counts[who] += 1
            return Sample(asyncio.run(_pull(base, f"small:{counts[who] - 1}")) * 1000)

        yield Sides(lambda: pull(agent.url, "mine"), lambda: pull(registry.url, "theirs"),
                    mine.rss_mib, pairs=IMAGES)  # fmt: skip


async def _pull(base: str, name: str) -> float:
    """Seconds to fetch a manifest and all it refers to."""
    repository, _, tag = name.partition(":")
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:

        async def fetch(path: str) -> bytes:
            url = f"{base}/v2/{repository}/{path}"
            async with gate, session.get(url, headers={"Accept": MANIFEST}) as response:
                assert response.status == 200, await response.text()
                return await response.read()

        started = time.monotonic()
        manifest = json.loads(await fetch(f"manifests/{tag}"))
        wanted = [manifest["config"], *manifest["layers"]]
        got = await asyncio.gather(*(fetch(f"blobs/{one['digest']}") for one in wanted))
        took_s = time.monotonic() - started
    assert [len(part) for part in got] == [one["size"] for one in wanted]
    return took_s


LINES = [
    Line("pull-cold", "s", "curl from nginx + sha256sum", _cold, "<= 1.0, CPU <= 1.5x"),
    Line("first-byte", "s", "whole blob over the same link", _first_byte, "< 0.05"),
    Line("small", "ms", "docker-registry", _small, "<= 1.5"),
]
