"""Clusters for tests: in this process, or as the real command in processes of its own."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

OCTOPULL = Path(sys.executable).with_name("octopull")
START_S = 60.0


class Process:
    """A running ``octopull`` command; its output goes to a log file."""

    def __init__(self, log: Path, *words: str | Path, prefix: tuple[str, ...] = ()) -> None:
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [*prefix, str(OCTOPULL), *map(str, words)], stdout=out, stderr=out
            )

    def wait_for(self, path: Path) -> None:
        """Until the process wrote ``path``."""
        self._wait_until(path.exists)

    def wait_for_text(self, text: str) -> None:
        """Until the process printed ``text``."""
        self._wait_until(lambda: text in self.log.read_text())

    def _wait_until(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + START_S
        pause = threading.Event()
        while not done():
            alive = self._popen.poll() is None and time.monotonic() < until
            assert alive, self.log.read_text()
            pause.wait(0.02)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """kill -9, at once."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> int:
        """SIGTERM, as an init system does; the exit code."""
        if self._popen.poll() is None:
            self._popen.terminate()
        return self._popen.wait(30)


@contextmanager
def up(folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """``octopull up`` with its data in ``folder``; yields the ready file's document."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    process = Process(folder / "log", "up", "--port-base", "0", "--data", folder / "data",
                      "--ready-file", ready, *words, prefix=prefix)  # fmt: skip
    try:
        process.wait_for(ready)
        yield json.loads(ready.read_text())
    finally:
        assert process.stop() == 0, process.log.read_text()


def agent_config(
    folder: Path, cluster: dict[str, Any], port: int, host: str = "127.0.0.1",
    tls: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """A config file of one agent of ``cluster``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "agent": {
            "data": str(folder / "data"),
            "trackers": [cluster["tracker"]],
            "tag_indexes": [cluster["tag_index"]],
            "listen": {"host": host, "port": port, "tls": tls},
            "peer": {"listen": {"host": host, "port": 0}},
        }
    }
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def content(size: int, seed: int) -> bytes:
    """``size`` bytes that do not compress and follow from ``seed``."""
    chance, step = random.Random(seed), 1 << 20
    return b"".join(chance.randbytes(min(step, size - at)) for at in range(0, size, step))
