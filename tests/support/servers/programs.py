"""Servers of others, each started once for all tests of a run, on a free port, and stopped at its
end. What they say is in a file, shown if they don't start.
"""

import asyncio
import atexit
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from octopull.config.backends import BackendSettings
from support.ports import free_port
from support.waiting import until

START_S = 60.0
ATTEMPTS = 3
INSTALLED = Path(__file__).parents[3] / ".venv/servers"
"""Where scripts/install-servers puts what is no Debian and no Python package."""

_numbers = itertools.count()
_running: "dict[str, Program]" = {}


class Program:
    """A server that listens on 127.0.0.1, and a folder of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"octopull-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, command: "Command") -> None:
        """Run it; returns when it listens."""
        for _ in range(ATTEMPTS):  # Somebody else may take the port that was free.
            self.port = free_port()
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: ASYNC220 - it outlives the loop
                    command(self.port, self.folder), cwd=self.folder,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            await until(self._settled, START_S)
            if self._process.poll() is None:
                return
        pytest.fail(f"{self.name} does not start:\n{(self.folder / 'log').read_text()}")

    async def _settled(self) -> bool:
        """Whether it listens, or has ended."""
        if self._process is None or self._process.poll() is not None:
            return True
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def stop(self) -> None:
        """End it, and remove what it wrote."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


Command = Callable[[int, Path], Sequence[str | Path]]
"""What is run, by port and folder."""


async def shared(name: str, command: Command) -> Program:
    """The program of that name, started if it isn't running."""
    if name not in _running:
        program = Program(name)
        await program.start(command)
        _running[name] = program
    return _running[name]


def from_environment(name: str) -> Path:
    """A program that a Python package brings."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed: make setup")
    return path


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of its own on a running server."""

    scheme: str
    name: str
    options: Mapping[str, str]
    secrets: Mapping[str, str]
    folder: Path

    def settings(
        self, root: str = "some/root", *, secrets: Mapping[str, str] | None = None, **options: str
    ) -> BackendSettings:
        """As an origin is told of it; ``secrets`` and ``options`` instead of or beside its own."""
        path = self.folder / f"credentials-{next(_numbers)}"
        write_secrets(path, self.secrets if secrets is None else secrets)
        return BackendSettings(
            url=f"{self.scheme}://{self.name}/{root}", name=f"{self.scheme}-test",
            credentials=str(path), options={**self.options, **options},
        )  # fmt: skip


def write_secrets(path: Path, secrets: Mapping[str, str]) -> None:
    """The file of credentials that holds ``secrets``."""
    path.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))


def new_name() -> str:
    """For a bucket."""
    return f"bucket-{next(_numbers)}"
