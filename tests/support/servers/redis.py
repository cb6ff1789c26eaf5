"""Debian's Redis, or Valkey, on a port of its own; it keeps nothing on disk."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from support.ports import free_port
from support.waiting import until

START_S = 20.0


@dataclass
class RedisServer:
    """A server that can be killed, stopped, and started again at the same port, empty."""

    folder: Path
    program: str
    config: dict[str, str] = field(default_factory=dict[str, str])
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """For ``PeerStoreSettings``."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        """Where it listens, too."""
        return self.folder / "socket"

    def client(self) -> Redis:
        """A client that has nothing to do with the code under test."""
        return Redis(unix_socket_path=str(self.socket), password=self.config.get("requirepass"))

    async def start(self) -> None:
        """Run it; returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {
            "port": str(self.port), "bind": "127.0.0.1", "unixsocket": str(self.socket),
            "save": '""', "appendonly": "no", "dir": str(self.folder), "databases": "2",
        }  # fmt: skip
        path = self.folder / "server.conf"
        path.write_text("".join(f"{key} {one}\n" for key, one in (told | self.config).items()))
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.program, str(path), stdout=log, stderr=log
            )
        async with self.client() as client:

            async def answers() -> bool:
                assert self.process is not None
                assert self.process.returncode is None, (self.folder / "log").read_text()
                try:
                    return bool(await client.dbsize() >= 0)
                except (RedisError, OSError):
                    return False

            await until(answers, START_S)

    async def kill(self) -> None:
        """kill -9; what it knew is gone."""
        process, self.process = self.process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def installed(program: str) -> str:
    """Where ``program`` is; without it the test skips."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@asynccontextmanager
async def redis(
    folder: Path, program: str = "redis-server", **config: str
) -> AsyncIterator[RedisServer]:
    """A running server with its files in ``folder``, which must be its own."""
    one = RedisServer(folder, installed(program), config)
    await one.start()
    try:
        yield one
    finally:
        await one.kill()
