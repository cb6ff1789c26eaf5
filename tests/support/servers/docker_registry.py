"""Debian's docker-registry on a free port, over a folder or a bucket."""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

USER, PASSWORD = "robot", "hunter2-is-secret"
# bcrypt, the one hash that docker-registry takes.
_HASH = "$2b$04$uj9mV1ZQyKlshf0ZUHLRU.8v09XoMRh3NE/6lkoCJp1YHS4Pbk3Sm"
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
START_S = 30.0


@asynccontextmanager
async def docker_registry(
    folder: Path, storage: Mapping[str, Any] | None = None, *, basic: bool = False,
    deletes: bool = True,
) -> AsyncIterator[str]:  # fmt: skip
    """Its ``host:port``. ``storage`` is its driver by name, else ``folder / "storage"``.

    ``basic``: user and password are asked for.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "delete": {"enabled": deletes},
            **(storage or {"filesystem": {"rootdirectory": str(folder / "storage")}}),
        },
        "http": {"addr": "127.0.0.1:0"},
    }
    if basic:
        users = folder / "users"
        await asyncio.to_thread(users.write_text, f"{USER}:{_HASH}\n")
        config["auth"] = {"htpasswd": {"realm": "registry", "path": str(users)}}
    path = folder / "registry.yaml"
    await asyncio.to_thread(path.write_text, yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        program, "serve", str(path), stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip
    reading: asyncio.Task[None] | None = None
    try:
        address = await _address(process)
        reading = asyncio.create_task(_drain(process))
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


def _environment() -> dict[str, str]:
    """Without what clients of AWS look at: its own is old, and dies of AWS_CA_BUNDLE."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(START_S):
        while line := await process.stderr.readline():
            said += line.decode("utf-8", "replace")
            match = _LISTENING.search(said)
            if match is not None:
                return match[1]
    pytest.fail(f"docker-registry did not start: {said}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Its log must not fill the pipe."""
    assert process.stderr is not None
    while await process.stderr.read(1 << 16):
        pass
