"""What encryption among peers costs: a blob from an origin to an agent, under TLS and in clear."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import ours
from harness.content import MIB, write_blob
from harness.ours import Meter
from harness.pairs import GIB, Line, Sample, Sides
from harness.processes import run
from harness.registry import CURL, delete, push_file


@contextmanager
def _sides(folder: Path) -> Iterator[Sides]:
    """A cold GiB through an agent; CPU of agent and origin alone, for a client that reads in clear."""
    with ExitStack() as stack:
        blob = folder / "blob"
        digest = write_blob(blob, GIB, 5)
        meters = list[Meter]()

        def side(name: str, *, secure: bool) -> Callable[[], Sample]:
            cluster = stack.enter_context(
                ours.cluster(folder / name, *(["--tls"] if secure else []))
            )
            files = _files(folder / name / "data" / "tls") if secure else None
            agent = stack.enter_context(
                ours.agent(folder / f"{name}-agent", cluster, peers_tls=files)
            )
            push_file(cluster.proxy, "bench", blob, digest)
            meter = Meter([agent.pid, cluster.pid])
            meters.append(meter)

            def pull() -> Sample:
                meter.start()
                started = time.monotonic()
                run(*CURL, "--output", "/dev/null", f"{agent.url}/v2/bench/blobs/{digest}")
                # Until the agent's copy is whole: that is paid for, too.
                run(*CURL, "--head", f"{agent.url}/namespace/bench/blobs/{digest}")
                took_s, used_s = time.monotonic() - started, meter.used_s()
                delete(agent.url, f"/blobs/{digest}")
                return Sample(GIB / MIB / took_s, used_s, GIB)

            return pull

        secure, plain = side("secure", secure=True), side("plain", secure=False)
        yield Sides(secure, plain, meters[0].rss_mib)


def _files(made: Path) -> dict[str, str]:
    return {
        "authority": str(made / "authority.pem"),
        "certificate": str(made / "agent-localhost.pem"),
        "key": str(made / "agent-localhost.key"),
    }


LINES = [Line("peer-tls", "MiB/s", "the same in clear", _sides, "CPU <= 1.6x")]
