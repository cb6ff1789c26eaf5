"""A cached blob out of an agent: whole, in ranges, and over TLS; against nginx."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import ours, rivals
from harness.content import write_blob
from harness.ours import Meter
from harness.pairs import GIB, Line, Sides
from harness.processes import run
from harness.registry import CURL, push_file

RANGES = 64


def _fetch_whole(url: str) -> float:
    return run(*CURL, "--output", "/dev/null", url).cpu_s


def _fetch_ranges(url: str) -> float:
    step = GIB // RANGES
    config = "\n".join(
        f'next\nurl = "{url}"\nrange = "{start}-{start + step - 1}"\noutput = "/dev/null"\n'
        "silent\nfail\ninsecure"
        for start in range(0, GIB, step)
    ).removeprefix("next\n")
    with tempfile.NamedTemporaryFile("w", suffix=".curl") as file:
        file.write(config)
        file.flush()
        return run("curl", "--parallel", "--parallel-immediate", "--parallel-max", str(RANGES),
                   "--config", file.name).cpu_s  # fmt: skip


@contextmanager
def _sides(folder: Path, fetch: Callable[[str], float], *, secure: bool) -> Iterator[Sides]:
    with ExitStack() as stack:
        files = folder / "nginx" / "files"
        digest = write_blob(files / "blob", GIB, 1)
        tls = certificate(folder) if secure else None
        nginx = stack.enter_context(rivals.nginx(folder / "nginx", tls=tls))
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        agent = stack.enter_context(ours.agent(folder / "agent", cluster, tls=tls))
        push_file(cluster.proxy, "bench", files / "blob", digest)
        blob = f"{agent.url}/v2/bench/blobs/{digest}"

        _fetch_whole(blob)
        mine, theirs = Meter([agent.pid]), Meter([nginx.pid])
        yield Sides(
            lambda: mine.throughput(lambda: fetch(blob), GIB),
            lambda: theirs.throughput(lambda: fetch(f"{nginx.url}/blob"), GIB),
            mine.rss_mib,
        )


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", key, "-out", made)  # fmt: skip
    return made, key


LINES = [
    Line("serve", "MiB/s", "nginx",
         lambda folder: _sides(folder, _fetch_whole, secure=False), ">= 0.95"),
    Line("ranges", "MiB/s", "nginx",
         lambda folder: _sides(folder, _fetch_ranges, secure=False), ">= 0.95"),
    Line("tls-serve", "MiB/s", "nginx",
         lambda folder: _sides(folder, _fetch_whole, secure=True), ">= 0.95"),
]  # fmt: skip
