"""A tag index's store and its tasks, killed between the book and the store that it tells."""

import os
import random
import subprocess
import sys
from pathlib import Path

from octopull.backends.tag_opening import opened_tags
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.services.tag_index.store import TagStore
from support import tagging

KILLS = 6
TAGGING = Path(tagging.__file__)
ROOT = TAGGING.parents[1]


def run(root: Path, seed: int, moves: int, lines: int | None) -> list[list[str]]:
    """What the process said until it was killed after so many lines, or ended by itself."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, TAGGING, root, str(seed), str(moves)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert process.stdout is not None
    said: list[list[str]] = []
    for line in process.stdout:
        said.append(line.split())
        if len(said) == lines:
            process.kill()
    process.stdout.close()
    code = process.wait()
    assert code == 0 or lines is not None
    return [line for line in said if len(line) == 3]


async def test_whatever_is_killed_the_store_is_told_what_the_book_says(tmp_path: Path) -> None:
    chance = random.Random(7)
    possible: dict[str, set[str]] = {}
    for kill in range(KILLS):
        for said, tag, digest in run(tmp_path, kill, 1000, chance.randrange(20, 150)):
            known = possible.setdefault(tag, {"-"})
            if said == "ended":
                known.clear()
            known.add(digest)
    assert run(tmp_path, KILLS, 0, None) == []
    store = TagStore(tmp_path / "book.sqlite")
    async with opened_tags([tagging.settings(tmp_path)]) as backends:
        for tag, digests in possible.items():
            name = TagName(tagging.REPOSITORY, tag)
            standing = store.standing(name)
            book = "-" if standing.digest is None else str(standing.digest)
            try:
                told = str((await backends.all[0].tags.get(name)).digest)
            except NotFound:
                told = "-"
            assert (told, standing.pending) == (book, False)
            assert book in digests
    assert len(possible) == tagging.TAGS
    store.close()
