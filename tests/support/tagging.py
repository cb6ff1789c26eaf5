"""A process that moves tags and tells a store of it, to be killed: ``tagging.py FOLDER SEED MOVES``.

It tells on its standard output, a line each: ``begun TAG DIGEST`` and ``ended TAG DIGEST`` of
each move (``-`` deletes); it ends when the store was told of everything.
"""

import asyncio
import os
import random
import sys
from contextlib import suppress
from pathlib import Path

from octopull.backends.tag_opening import opened_tags
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.oci.manifests import Manifest, MediaType
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_sources import TagSources
from octopull.services.tag_index.tag_write_back import TagWriteBack
from support.waiting import until

REPOSITORY = "team/app"
TAGS = 12
WRITTEN_S = 60.0


def settings(root: Path) -> TagBackendSettings:
    """The store that is told."""
    return TagBackendSettings(url=f"sqlite://{root}/told.sqlite")


def say(line: str) -> None:
    """At once, so that it is heard of a process that is killed."""
    os.write(1, f"{line}\n".encode())


async def move(
    store: TagStore, write_back: TagWriteBack, tag: str, chance: random.Random, moves: int
) -> None:
    """Move one tag again and again."""
    for _ in range(moves):
        digest = Digest.of(chance.randbytes(8))
        deleted = chance.random() < 0.25
        said = f"{tag} {'-' if deleted else digest}"
        say(f"begun {said}")
        name = TagName(REPOSITORY, tag)
        if deleted:
            with suppress(NotFound):
                await asyncio.to_thread(store.delete_tag, name)
        else:
            manifest = Manifest(MediaType.OCI_MANIFEST, (), None, None, {})
            await asyncio.to_thread(store.put, name, Pushed(digest, 1, manifest), [])
        await write_back.told(REPOSITORY, [tag])
        say(f"ended {said}")


async def main(root: Path, seed: int, moves: int) -> None:
    async with opened_tags([settings(root)]) as backends, Tasks() as tasks:
        sources = TagSources({}, backends)
        store = TagStore(root / "book.sqlite", sources.lane_of)
        write_back = TagWriteBack(store, sources, lambda _: None)
        await write_back.start(tasks)
        numbers = range(TAGS)
        await asyncio.gather(
            *(move(store, write_back, f"t{n}", random.Random(seed * TAGS + n), moves)
              for n in numbers)
        )  # fmt: skip

        async def none_left() -> bool:
            return not (await write_back.progress()).pending

        await until(none_left, WRITTEN_S)
    store.close()


if __name__ == "__main__":
    logs.configure("error", LogFormat.TEXT)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
