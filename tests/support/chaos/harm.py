"""What ``mishaps.py`` draws, done to real processes, links and disks, and undone."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from octopull.kernel.digest import Digest
from support.agreeing import all_count
from support.chaos import drives
from support.chaos.disks import Disks, blob_files
from support.chaos.forks import faketime
from support.chaos.history import History, Spell
from support.chaos.lab import Lab
from support.chaos.mishaps import Mishap, Way
from support.production import Node, Production

REPAIR_S = 15.0
"""Who was wiped or damaged is let be for so long, before the next mishap."""

LARGE_BYTES = 1_000_000
"""Blobs of several pieces are read in other ways than small ones, so half of the damaged ones are."""

_COSTS_COPIES = {"origin": {Way.WIPED, Way.DAMAGED}, "tag-index": {Way.WIPED}}
CLOCKS = ("-3d", "-1h", "+1h", "+3d")


class Harm:
    """Does mishaps to ``cluster``; ``blobs`` are those that must not be lost."""

    def __init__(
        self, cluster: Production, lab: Lab, history: History, disks: Disks, blobs: set[Digest]
    ) -> None:
        self.cluster = cluster
        self.lab = lab
        self.harmed: dict[str, Way] = {}
        """What befalls nodes now, by their names."""
        self.damaged: list[tuple[str, Digest]] = []
        """Blobs that were damaged, and on whose disk, for somebody to ask for."""
        self.broken: list[str] = []
        """What did not end in order."""
        self.spared: list[str] = []
        """Who was let be, since others were not well again in time."""
        self._history = history
        self._disks = disks
        self._blobs = blobs

    async def befall(self, course: Sequence[Mishap]) -> None:
        """One after another; each is undone before the next."""
        for mishap in course:
            await asyncio.sleep(mishap.after_s)
            if mishap.way is Way.ROLLED:
                await self._roll(mishap.kind)
                continue
            node = self.cluster.by_verb[mishap.kind][mishap.node]
            costs_copies = mishap.way in _COSTS_COPIES.get(mishap.kind, ())
            if costs_copies and not await self._well(mishap.kind):
                self.spared.append(f"{node.name}: others were not well for {REPAIR_S:g} s, so it "
                                   f"was not {mishap.way}")  # fmt: skip
                continue
            async with self._noted(node, mishap.way), _WAYS[mishap.way](self, node, mishap):
                await asyncio.sleep(mishap.for_s)
            if costs_copies:
                await self._well(mishap.kind)

    async def _well(self, kind: str) -> bool:
        """Whether all of a kind soon have all that they should."""
        if kind == "origin":
            return await self._disks.repaired(set(self._blobs), REPAIR_S)
        return await all_count(self.cluster.http, self.cluster.tag_indexes, REPAIR_S)

    async def _roll(self, kind: str) -> None:
        for node in self.cluster.by_verb[kind]:
            async with self._noted(node, Way.ROLLED):
                if code := await asyncio.to_thread(node.end):
                    self.broken.append(f"{node.name} was stopped, and ended with {code}")
                await self.cluster.start(node)

    @asynccontextmanager
    async def _noted(self, node: Node, way: Way) -> AsyncIterator[None]:
        from_s = self._history.now()
        self.harmed[node.name] = way
        try:
            yield
        finally:
            del self.harmed[node.name]
            spell = Spell(node.verb, node.name, way, from_s, self._history.now())
            self._history.spells.append(spell)


@asynccontextmanager
async def _killed(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    node.kill()
    if mishap.way is Way.WIPED:
        node.wipe()
    yield
    await harm.cluster.start(node)


@asynccontextmanager
async def _stopped(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    os.kill(node.pid, signal.SIGSTOP)
    yield
    os.kill(node.pid, signal.SIGCONT)
    await node.ready(harm.cluster.http)


@asynccontextmanager
async def _cut(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    harm.lab.cut(node.name)
    yield
    harm.lab.mend(node.name)
    await node.ready(harm.cluster.http)


@asynccontextmanager
async def _parted(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    others = {
        kind: [one.name for one in nodes if one is not node]
        for kind, nodes in harm.cluster.by_verb.items()
    }
    kinds = [kind for kind in others if others[kind]]
    theirs = others[random.Random(mishap.draw).choice(kinds)]
    harm.lab.part(node.name, theirs)
    yield
    harm.lab.join(node.name, theirs)


@asynccontextmanager
async def _filled(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    filler = harm.lab.hosts[node.name].disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
    yield
    filler.unlink(missing_ok=True)


@asynccontextmanager
async def _damaged(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    files = blob_files(node)
    if files:
        large = [path for path in files if path.stat().st_size > LARGE_BYTES]
        chance = random.Random(mishap.draw)
        path = chance.choice(chance.choice([files, large or files]))
        _flip(path)
        harm.damaged.append((node.name, Digest(path.name)))
    yield
    # An origin reads all of its blobs when it starts; of an agent's, somebody must get rid.
    node.kill()
    if node.verb == "agent":
        node.wipe()
    await harm.cluster.start(node)


def _flip(path: Path) -> None:
    """Change a bit in the middle of a file.

    In a copy that takes its place: who reads the file at this moment has proven it, and holds what
    it has read in memory, as no disk could change it.
    """
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 1
    copy = path.with_name(f"{path.name}.tmp")
    copy.write_bytes(content)
    shutil.copystat(path, copy)
    copy.replace(path)


@asynccontextmanager
async def _clock(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    clock = harm.lab.hosts[node.name].clock
    clock.write_text(random.Random(mishap.draw).choice(CLOCKS))
    yield
    clock.write_text("+0")


@asynccontextmanager
async def _slowed(harm: Harm, node: Node, mishap: Mishap) -> AsyncIterator[None]:
    harm.lab.drives[node.name].slow()
    yield
    harm.lab.drives[node.name].quicken()


_WAYS: dict[Way, Callable[[Harm, Node, Mishap], AbstractAsyncContextManager[None]]] = {
    Way.KILLED: _killed, Way.WIPED: _killed, Way.STOPPED: _stopped, Way.CUT: _cut,
    Way.PARTED: _parted, Way.FILLED: _filled, Way.SLOWED: _slowed, Way.DAMAGED: _damaged,
    Way.CLOCK: _clock,
}  # fmt: skip


def possible() -> list[Way]:
    """What can be done on this machine."""
    impossible = {Way.CLOCK: not faketime(), Way.SLOWED: drives.lacking()}
    return [way for way in Way if not impossible.get(way)]
