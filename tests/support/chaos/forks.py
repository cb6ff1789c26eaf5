"""Processes of ``octopull`` that start in a moment: forks of one that has read all of its code.

Each runs the real command, in a network namespace and by a clock of its own; all of them end with
the process that they are forked from.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.cluster import START_S
from support.production import Place

_FORKER = Path(__file__).with_name("forker.py")
_LIBRARIES = "/usr/lib"


def faketime() -> Path | None:
    """The library that shows a process another clock, if there is one."""
    return next(Path(_LIBRARIES).glob("*/faketime/libfaketime.so.1"), None)


class Forked:
    """One of the processes; as ``support.cluster.Process``."""

    def __init__(self, forks: "Forks", pid: int, log: Path) -> None:
        self._forks = forks
        self._fd = os.pidfd_open(pid)
        self.pid = pid
        self.log = log

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._over(0)

    def _over(self, within_s: float) -> bool:
        return bool(select.select([self._fd], [], [], within_s)[0])

    def kill(self) -> None:
        """kill -9, at once."""
        signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM, as an init system does; the exit code."""
        if self.alive:
            signal.pidfd_send_signal(self._fd, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Until it is over; the exit code."""
        over = self._over(START_S)
        assert over, self.log.read_text()
        os.close(self._fd)
        return self._forks.code(self.pid)


class Forks:
    """Forks them; open it with ``with``. Calls may come from any thread."""

    def __init__(self) -> None:
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        library = faketime()
        clock = {"LD_PRELOAD": str(library), "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                 "FAKETIME_CACHE_DURATION": "1", "NO_FAKE_STAT": "1"} if library else {}  # fmt: skip
        self._popen = subprocess.Popen(
            [sys.executable, _FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **clock},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.kill()
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.wait()

    def place(self, node: str) -> Place:
        """A place for any node: on this machine's loopback."""
        del node
        return Place(
            launch=lambda log, verb, config: self.start(log, verb, "--config", str(config))
        )

    def start(
        self, log: Path, *words: str, namespace: str = "", clock: Path | None = None
    ) -> Forked:
        """Run ``octopull`` with ``words``; ``clock`` is a file that says how wrong its clock is."""
        told = {"FAKETIME_TIMESTAMP_FILE": str(clock)} if clock and faketime() else {}
        order = {"words": words, "log": str(log), "namespace": namespace, "environment": told}
        return Forked(self, self._ask(order), log)

    def code(self, pid: int) -> int:
        """The exit code of one that is over."""
        return self._ask({"code": pid})

    def _ask(self, order: Mapping[str, Any]) -> int:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with self._asking:
            self._popen.stdin.write(json.dumps(order) + "\n")
            self._popen.stdin.flush()
            return int(self._popen.stdout.readline())
