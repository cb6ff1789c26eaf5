"""Tags that others move, too: what they stand for there, asked anew when the last answer is too old.

A tag that was pushed here counts until its store was told of it, and others as their source says.
While a source fails, its tags stand for what they stood for last, and the answer says so. What
was checked is kept in memory alone: after a restart every tag is checked again.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.clients.fetching import patient
from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import Resolution
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    Misuse,
    NotFound,
    Pending,
    Unavailable,
    UpstreamFailed,
)  # fmt: skip
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.oci.manifests import MANIFEST_BYTES_MAX, parse
from octopull.runtime.tasks import Tasks, happens
from octopull.services.tag_index.store import Pushed, Standing, TagStore
from octopull.services.tag_index.tag_sources import TagSource, TagSources

log = logs.get("tag_index")
WAIT_S = 4.0
"""A check that takes longer is not waited for: the caller asks again, or has the last answer."""

CHECK_S = 90.0
FAILED_S = 5.0
"""How long a failure counts at most; a tag's own time if that is less."""

CHECKS_MAX = 100_000
UNDER_WAY_MAX = 200
"""Checks at once: made-up tags must not keep real ones waiting for long."""

BELOW_MAX = 200
"""Manifests of an index whose references are recorded."""


@dataclass(slots=True)
class Check:
    """One question to a source; ``fault`` is why there was no answer.

    ``counts`` ends when the tag's store is told of a change from here, which the answer may not
    know of.
    """

    over: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Fault | None = None
    started_s: float = field(default_factory=time.monotonic)
    until_s: float = 0.0
    counts: bool = True

    async def waited(self, most_s: float) -> None:
        """Returns when the answer is there, or after ``most_s``."""
        await happens(self.over, max(most_s, 0.0))

    def resolution(self, known: Digest | None) -> Resolution:
        """What this says of a tag that stands for ``known`` here; raises as ``resolve``."""
        fault = self.fault
        if fault is not None and (known is None or isinstance(fault, NotFound)):
            raise type(fault)(str(fault))
        if known is None:
            # Not yet, or deleted since.
            raise Pending("the tag is being looked up", progress=time.monotonic_ns())
        if not self.over.is_set():
            return Resolution(known, "the tag's source has not answered yet")
        return Resolution(known, "" if fault is None else str(fault))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of a tag: its manifest and those below; ``whole`` if none is missing."""

    reached: list[Digest]
    whole: bool


class FollowedTags:
    """Resolves the tags of ``sources``; ``origins`` must fetch what they lack."""

    def __init__(
        self, store: TagStore, origins: OriginCluster, stored: OriginCluster,
        sources: TagSources, tasks: Tasks,
    ) -> None:  # fmt: skip
        self._store = store
        self._origins = origins
        self._stored = stored
        self._sources = sources
        self._tasks = tasks
        self._under_way = 0
        self._checks: OrderedDict[TagName, Check] = OrderedDict()
        self._recorded: OrderedDict[TagName, Recorded] = OrderedDict()

    async def resolve(self, name: TagName) -> Resolution:
        """What the tag stands for, checked within its source's ``tag_ttl_s``, or stale.

        Raises:
            NotFound: no such tag. Pending: its source is still being asked.
            UpstreamFailed: it can't tell, and the tag was never seen before.

        """
        source = self._sources.of(name.repository)
        standing = await asyncio.to_thread(self._store.standing, name)
        if source is None or _ours(standing, source):
            if standing.digest is None:
                raise NotFound("no such tag", tag=str(name))
            return Resolution(standing.digest)
        check = self._checks.get(name)
        if check is None or (check.over.is_set() and time.monotonic() >= check.until_s):
            check = self._begin(name, source)
        waited_s = 0.0 if standing.digest is None else time.monotonic() - check.started_s
        await check.waited(WAIT_S - waited_s)
        standing = await asyncio.to_thread(self._store.standing, name)
        if _ours(standing, source) and standing.digest is not None:
            return Resolution(standing.digest)
        return check.resolution(standing.digest)

    def forget(self) -> None:
        """Others may have told the sources of changes: what they answered until now may be old."""
        for check in self._checks.values():
            check.counts = False
        self._checks.clear()

    def changed(self, name: TagName) -> None:
        """The tag's store was told of a change: what it answered until now may be old."""
        check = self._checks.pop(name, None)
        if check is not None:
            check.counts = False

    def _begin(self, name: TagName, source: TagSource) -> Check:
        if self._under_way >= UNDER_WAY_MAX:
            raise Unavailable("too many tags are being checked", most=UNDER_WAY_MAX)
        self._under_way += 1
        check = Check()
        self._checks[name] = check
        self._checks.move_to_end(name)
        while len(self._checks) > CHECKS_MAX:
            self._checks.popitem(last=False)
        self._tasks.start(self._run(name, source, check), "check tag")
        return check

    async def _run(self, name: TagName, source: TagSource, check: Check) -> None:
        hold_s = source.tag_ttl_s
        try:
            async with asyncio.timeout(CHECK_S):
                await self._ask(name, source, check)
        except NotFound as fault:
            check.fault, hold_s = fault, min(hold_s, FAILED_S)
        except TimeoutError:
            check.fault, hold_s = (
                UpstreamFailed("the tag's source is too slow"),
                min(hold_s, FAILED_S),
            )
        except (Unavailable, Corrupt) as fault:
            log.warning("tag.unchecked", tag=str(name), reason=str(fault))
            check.fault, hold_s = fault, min(hold_s, FAILED_S)
        except BaseException:
            check.fault = Unavailable("the check was broken off")
            raise
        finally:
            self._under_way -= 1
            check.until_s = time.monotonic() + hold_s
            check.over.set()

    async def _ask(self, name: TagName, source: TagSource, check: Check) -> None:
        try:
            digest = await source.digest(name)
        except NotFound:
            await asyncio.to_thread(self._lose, name, source, check)
            raise
        known = (await asyncio.to_thread(self._store.standing, name)).digest
        try:
            await self._check_deleted(name, digest, source)
            await self._take(name, digest, known, source, check)
        except NotFound as fault:
            if known is None or not source.store:
                await asyncio.to_thread(self._lose, name, source, check)
                raise
            # Whoever moved the tag may have told of it before its blobs were there.
            raise UpstreamFailed("the tag stands for a manifest that isn't there") from fault

    async def _check_deleted(self, name: TagName, digest: Digest, source: TagSource) -> None:
        """Raise NotFound if the manifest was deleted here, and nobody pushed it again since."""
        repository = name.repository
        if not await asyncio.to_thread(self._store.deletions.has, repository, digest):
            return
        pending = await asyncio.to_thread(self._store.tasks.pending, repository, str(digest))
        if pending or not await source.holds(repository, digest):
            raise NotFound("the tag's manifest was deleted", tag=str(name))

    async def _take(
        self, name: TagName, digest: Digest, known: Digest | None, source: TagSource, check: Check
    ) -> None:
        """Have the manifest fetched and let the tag stand for it.

        What it leads to is not fetched, only recorded as far as it is there, so that garbage
        collection leaves it.
        """
        last = self._recorded.get(name) if known == digest else None
        if last is not None and last.reached[0] == digest and last.whole:
            return
        pushed = await self._read(name.repository, digest)
        children = [one.digest for one in pushed.manifest.references if one.is_manifest]
        below = await self._below(name.repository, children)
        found = [digest, *(one.digest for one in below)]
        recorded = Recorded(found, whole=len(below) == len(children))
        if last == recorded:
            return
        followed = await asyncio.to_thread(
            self._store.follow, name, pushed, below, source.store, lambda: check.counts
        )
        if not followed:
            return
        if known != digest:
            log.info("tag.moved", tag=str(name), digest=digest.short)
        if known is not None and known != digest and not source.store:
            await asyncio.to_thread(self._store.forget_untagged, name.repository, known)
        self._recorded[name] = recorded
        while len(self._recorded) > CHECKS_MAX:
            self._recorded.popitem(last=False)

    async def _read(self, repository: str, digest: Digest) -> Pushed:
        try:
            content = await self._stored.read_held(repository, digest, MANIFEST_BYTES_MAX)
        except (NotFound, Unavailable):

            async def fetch() -> None:
                await self._origins.holders.fetch(repository, digest, manifest=True)

            await patient(fetch, CHECK_S)
            content = await self._stored.read_held(repository, digest, MANIFEST_BYTES_MAX)
        try:
            return Pushed(digest, len(content), parse(content, None))
        except Misuse as fault:
            raise Corrupt(f"the upstream's manifest is of no use: {fault}") from fault

    async def _below(self, repository: str, children: Sequence[Digest]) -> Sequence[Pushed]:
        """Those manifests of an index that clients have asked for."""
        found: list[Pushed] = []
        for digest in children[:BELOW_MAX]:
            with contextlib.suppress(NotFound, Unavailable, Misuse):
                content = await self._stored.read_held(repository, digest, MANIFEST_BYTES_MAX)
                found.append(Pushed(digest, len(content), parse(content, None)))
        return found

    def _lose(self, name: TagName, source: TagSource, check: Check) -> None:
        known = self._store.standing(name).digest
        if known is None or not self._store.lose(name, source.store, lambda: check.counts):
            return
        log.info("tag.lost", tag=str(name), digest=known.short)
        if not source.store:
            self._store.forget_untagged(name.repository, known)


def _ours(standing: Standing, source: TagSource) -> bool:
    """Whether the tag counts as it is here: its store has yet to be told, or can't be."""
    pushed_here = standing.digest is not None and standing.store != source.store
    return bool(source.store) and (standing.pending or pushed_here)
