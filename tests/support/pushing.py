"""A process that pushes blobs and writes them back, to be killed: ``pushing.py FOLDER FROM TO``.

It tells on its standard output what it did, a line each: ``acked N``, ``put HEX THERE``,
``stored HEX``; it ends when nothing is left to be done.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from octopull.config.backends import BackendSettings, WriteBackSettings
from octopull.kernel.digest import Digest
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.runtime.tasks import Tasks
from octopull.services.origin.ring import Ring
from octopull.services.origin.sources import Sources
from octopull.services.origin.write_back import WriteBack
from octopull.storage.disk import DiskStore
from octopull.storage.task_queue import TaskQueue
from support.folder_backend import FolderBackend
from support.waiting import until

PUSHES_AT_ONCE = 20
WRITTEN_S = 3600.0


def blob(number: int) -> bytes:
    """The content of one."""
    return f"blob {number}".encode()


def say(line: str) -> None:
    """At once, so that it is heard of a process that is killed."""
    os.write(1, f"{line}\n".encode())


async def push(store: DiskStore, write_back: WriteBack, numbers: Iterator[int]) -> None:
    for number in numbers:
        digest = Digest.of(blob(number))
        await asyncio.to_thread(store.put, digest, blob(number))
        async with write_back.owing("a/b", digest):
            pass
        say(f"acked {number}")


async def until_written(write_back: WriteBack) -> None:
    """Until no task is left."""

    async def none_left() -> bool:
        return not (await write_back.progress()).pending

    await until(none_left, WRITTEN_S)


async def main(root: Path, first: int, last: int) -> None:
    store = DiskStore(root / "origin")
    backend = FolderBackend(root / "backend", say)
    settings = [BackendSettings(url="file:///unused", name=backend.name)]
    async with TaskQueue(root / "origin" / "write-back.sqlite") as queue, Tasks() as tasks:
        write_back = WriteBack(
            queue, store, Ring(["me:1"], "me:1"), Sources({}, lambda _: backend), settings,
            WriteBackSettings(),
        )  # fmt: skip
        await write_back.start(tasks)
        numbers = iter(range(first, last))
        await asyncio.gather(*(push(store, write_back, numbers) for _ in range(PUSHES_AT_ONCE)))
        await until_written(write_back)


if __name__ == "__main__":
    logs.configure("error", LogFormat.TEXT)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
