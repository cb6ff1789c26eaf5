"""libtorrent: a peer on every host, each knowing all others from the start, and no tracker."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.lab import Host
from harness.processes import cpu_s
from harness.swarming import SETTLE_S, Ground, Pulled

PEER = Path(__file__).with_name("libtorrent_peer.py")


def pull(ground: Ground) -> Pulled:
    """Seeds and leechers take up the torrent at the same moment."""
    torrent = ground.folder / "torrent"
    _run_peer_script("make", str(ground.blob), str(torrent))
    with _peers(ground, torrent) as peers:
        for peer in peers:
            peer.hear("ready")
        ground.cap()
        started = time.monotonic() + SETTLE_S
        for peer in peers:
            peer.say(started)
        time.sleep(started - time.monotonic())
        pids = [peer.pid for peer in peers]
        before_s = cpu_s(pids)
        seconds = [peer.hear("seconds") for peer in peers[ground.seeds :]]
        used_s = cpu_s(pids) - before_s
        sent = [peer.end() for peer in peers[: ground.seeds]]
    return Pulled(seconds, used_s, int(sum(sent)))


class _Peer:
    """A peer process, and the lines it exchanges with us."""

    def __init__(self, host: Host, told: dict[str, Any], log: Path) -> None:
        with host.inside(), log.open("wb") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        self._log = log
        self.say(told)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def say(self, document: object) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(document) + "\n")
        self._popen.stdin.flush()

    def hear(self, name: str) -> float:
        """The number that the peer's next line gives under ``name``."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"a peer ended before {name!r}: {self._log.read_text()[-2000:]}")
        return float(json.loads(line)[name])

    def end(self) -> float:
        """End the peer's part; how many bytes it sent."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        return self.hear("sent_bytes")

    def kill(self) -> None:
        """End the process at once; again does no harm."""
        self._popen.kill()
        self._popen.wait()


@contextmanager
def _peers(ground: Ground, torrent: Path) -> Iterator[list[_Peer]]:
    """Seeds first; all are killed at the end, or when they take too long."""
    addresses = [host.address for host in ground.lab.hosts]
    peers: list[_Peer] = []
    for number, host in enumerate(ground.lab.hosts):
        seed = number < ground.seeds
        folder = ground.folder / host.name
        folder.mkdir()
        told = {
            "address": host.address, "torrent": str(torrent), "seed": seed,
            "others": [address for address in addresses if address != host.address],
            "folder": str(ground.blob.parent if seed else folder),
        }  # fmt: skip
        peers.append(_Peer(host, told, folder / "log"))
    watch = threading.Timer(ground.scenario.deadline_s, _kill, [peers])
    watch.start()
    try:
        yield peers
    finally:
        watch.cancel()
        _kill(peers)


def _kill(peers: Sequence[_Peer]) -> None:
    for peer in peers:
        peer.kill()


def _run_peer_script(*words: str) -> None:
    subprocess.run([sys.executable, str(PEER), *words], check=True)
