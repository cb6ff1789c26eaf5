"""A real HDFS: two namenodes and two datanodes of Hadoop's minicluster, in one Java process.

It takes some fifteen seconds to start, so that one serves all tests of a run; if it does not, no
other test waits for another try. scripts/install-servers brings its archives.
"""

import asyncio
import atexit
import contextlib
import itertools
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from octopull.backends.hdfs import Hdfs, connected
from octopull.config.backends import BackendSettings
from support.servers.programs import INSTALLED

HERE = Path(__file__).parent / "minihdfs"
ARCHIVES = INSTALLED / "hadoop"
START_S = 180.0
JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_numbers = itertools.count()
_running: "list[Hadoop | None]" = []


class Hadoop:
    """The process; ``namenodes`` are their addresses, the first of which was active at first."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="octopull-hdfs-"))
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *JAVA,
                    "-cp",
                    f"{ARCHIVES}/*",
                    str(HERE / "MiniHdfs.java"),
                    str(self.folder / "dfs"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
            )
        self._unread = b""
        atexit.register(self.stop)
        told = [line.split() for line in self._until("ready", START_S)]
        self.namenodes = [f"localhost:{word}" for name, word in told if name == "namenode"]
        self.user = next(word for name, word in told if name == "user")

    async def tell(self, command: str) -> None:
        """Have ``command`` done; see MiniHdfs.java."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        await asyncio.to_thread(self._until, "done", 60)

    def stop(self) -> None:
        """End it, and remove what it wrote."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _until(self, last: str, within_s: float) -> list[str]:
        assert self._process.stdout is not None
        end_s, lines = time.monotonic() + within_s, list[str]()
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if line.decode() == last:
                    return lines
                lines.append(line.decode())
                continue
            stream = self._process.stdout.fileno()
            ready, _, _ = select.select([stream], [], [], max(0.0, end_s - time.monotonic()))
            more = os.read(stream, 4096) if ready else b""
            log = (self.folder / "log").read_text(errors="replace")
            if "UnsupportedClassVersionError" in log:
                pytest.skip("java is too old for HDFS, which needs 17")
            assert more, f"HDFS does not say {last!r}; its log ends with\n{log[-3000:]}"
            self._unread += more


def _started() -> Hadoop:
    if not (ARCHIVES / "complete").exists():
        pytest.skip("HDFS is not installed: scripts/install-servers, with mvn")
    if shutil.which("java") is None:
        pytest.skip("java is not installed, and with it HDFS")
    if not _running:
        _running.append(None)
        _running[0] = Hadoop()
    (server,) = _running
    assert server is not None, "HDFS has not started for the first test that asked for it"
    return server


@asynccontextmanager
async def hadoop() -> AsyncIterator[Hadoop]:
    """The one of this run, started if it is not; its first namenode is active."""
    one = await asyncio.to_thread(_started)
    await one.tell("active 0")
    yield one


@asynccontextmanager
async def hdfs(url: str = "", **settings: object) -> AsyncIterator[Hdfs]:
    """An empty store in the HDFS of this run; ``url`` and ``settings`` say what is otherwise."""
    async with hadoop() as server:
        place = url or f"hdfs://{','.join(server.namenodes)}/octopull/{next(_numbers)}"
        options = {"user": server.user}
        found = BackendSettings(url=place, **{"options": options, **settings})  # type: ignore[arg-type]
        async with connected(found) as store:
            yield store
