"""Debian's PostgreSQL on a free port, with a database of its own, run by an unprivileged user."""

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port

USER, PASSWORD = "keeper", "tags-are-secret"
START_S = 60.0


@dataclass
class Postgres:
    """A server that can be stopped and started again at the same port."""

    folder: Path
    programs: Path
    port: int
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """For ``TagBackendSettings``."""
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    @property
    def credentials(self) -> Path:
        """A file with user and password."""
        return self.folder / "credentials"

    async def make(self) -> None:
        """Create the database's files."""
        (self.folder / "password").write_text(PASSWORD)
        self.credentials.write_text(f"{USER}:{PASSWORD}\n")
        who = _unprivileged()
        if who:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, who["user"], who["group"])
        words = ("-D", str(self.folder / "data"), "-U", USER, "-A", "scram-sha-256", "-N",
                 "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8",
                 f"--pwfile={self.folder / 'password'}")  # fmt: skip
        made = await self._run("initdb", *words)
        said, _ = await made.communicate()
        assert made.returncode == 0, said.decode()

    async def start(self) -> None:
        """Run the server; returns when it answers."""
        words = ("-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1",
                 "-k", str(self.folder), "-c", "fsync=off", "-c", "max_connections=20")  # fmt: skip
        self.process = await self._run("postgres", *words)
        async with asyncio.timeout(START_S):
            while not await self._ready():
                assert self.process.returncode is None

    async def _ready(self) -> bool:
        asked = await self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q")
        await asked.communicate()
        return asked.returncode == 0

    async def stop(self) -> None:
        """End it as ``kill -9`` would, from its clients' point of view."""
        if self.process is not None:
            # SIGQUIT: "immediate shutdown", which takes the children along.
            self.process.send_signal(3)
            await self.process.communicate()
            self.process = None

    async def _run(self, name: str, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self.programs / name), *words, cwd=self.folder, **_unprivileged(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip


def _unprivileged() -> Mapping[str, Any]:
    """PostgreSQL does not run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _programs() -> Path:
    """Where the server's programs are; Debian has them on no path."""
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found is None and not places:
        pytest.skip("PostgreSQL is not installed: needs initdb (Debian's postgresql)")
    return places[-1].parent if places else Path(str(found)).parent


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """A running server with its files in ``folder``, which must be its own."""
    server = Postgres(folder, _programs(), free_port())
    await server.make()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
