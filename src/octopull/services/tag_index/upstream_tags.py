"""Tags of upstreams: what they stand for there, asked anew when the last answer is too old.

While an upstream fails, its tags stand for what they stood for last, and the answer says so.
What was checked is kept in memory alone: after a restart every tag is checked again.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from octopull.backends.registry import Upstream
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
from octopull.oci.upstreams import split
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.store import Pushed, TagStore

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
    """One question to an upstream; ``fault`` is why there was no answer."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Fault | None = None
    started_s: float = field(default_factory=time.monotonic)
    until_s: float = 0.0

    async def waited(self, most_s: float) -> None:
        """Returns when the answer is there, or after ``most_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(most_s, 0.0)):
                await self.over.wait()

    def resolution(self, known: Digest | None) -> Resolution:
        """What this says of a tag that stands for ``known`` here; raises as ``resolve``."""
        fault = self.fault
        if fault is not None and (known is None or isinstance(fault, NotFound)):
            raise type(fault)(str(fault))
        if known is None:
            # Not yet, or deleted since.
            raise Pending("the upstream is being asked", progress=time.monotonic_ns())
        if not self.over.is_set():
            return Resolution(known, "the upstream has not answered yet")
        return Resolution(known, "" if fault is None else str(fault))


class UpstreamTags:
    """Resolves the tags of ``upstreams``; ``origins`` must fetch what they lack."""

    def __init__(
        self, store: TagStore, origins: OriginCluster, stored: OriginCluster,
        upstreams: Mapping[str, Upstream], tasks: Tasks,
    ) -> None:  # fmt: skip
        self._store = store
        self._origins = origins
        self._stored = stored
        self._upstreams = upstreams
        self._tasks = tasks
        self._under_way = 0
        self._checks: OrderedDict[TagName, Check] = OrderedDict()
        self._recorded: OrderedDict[TagName, list[Digest]] = OrderedDict()

    def covers(self, repository: str) -> bool:
        """Whether the repository is an upstream's."""
        return split(repository, self._upstreams) is not None

    async def resolve(self, name: TagName) -> Resolution:
        """What the tag stands for, checked within its upstream's ``tag_ttl_s``, or stale.

        Raises:
            NotFound: no such tag at the upstream. Pending: the upstream is still being asked.
            UpstreamFailed: it can't tell, and the tag was never seen before.

        """
        check = self._checks.get(name)
        if check is None or (check.over.is_set() and time.monotonic() >= check.until_s):
            check = self._begin(name)
        if await asyncio.to_thread(self._known, name) is None:
            await check.waited(WAIT_S)
        else:
            await check.waited(check.started_s + WAIT_S - time.monotonic())
        known = await asyncio.to_thread(self._known, name)
        return check.resolution(known)

    def _begin(self, name: TagName) -> Check:
        if self._under_way >= UNDER_WAY_MAX:
            raise Unavailable("too many tags are being checked", most=UNDER_WAY_MAX)
        self._under_way += 1
        check = Check()
        self._checks[name] = check
        self._checks.move_to_end(name)
        while len(self._checks) > CHECKS_MAX:
            self._checks.popitem(last=False)
        self._tasks.start(self._run(name, check), "check tag")
        return check

    async def _run(self, name: TagName, check: Check) -> None:
        upstream, repository = self._upstream(name)
        hold_s = upstream.settings.tag_ttl_s
        try:
            async with asyncio.timeout(CHECK_S):
                await self._take(name, await upstream.tag(repository, name.tag))
        except NotFound as fault:
            await asyncio.to_thread(self._forget, name)
            check.fault, hold_s = fault, min(hold_s, FAILED_S)
        except TimeoutError:
            check.fault, hold_s = UpstreamFailed("the upstream is too slow"), min(hold_s, FAILED_S)
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

    async def _take(self, name: TagName, digest: Digest) -> None:
        """Have the manifest fetched and let the tag stand for it.

        What it leads to is not fetched, only recorded as far as it is there, so that garbage
        collection leaves it.
        """
        pushed = await self._read(name.repository, digest)
        below = await self._below(name.repository, pushed)
        reached = [digest, *(one.digest for one in below)]
        known = await asyncio.to_thread(self._known, name)
        if known == digest and self._recorded.get(name) == reached:
            return
        await asyncio.to_thread(self._store.put, name, pushed, below)
        if known != digest:
            log.info("tag.moved", tag=str(name), digest=digest.short)
        if known is not None and known != digest:
            await asyncio.to_thread(self._store.forget_untagged, name.repository, known)
        self._recorded[name] = reached
        while len(self._recorded) > CHECKS_MAX:
            self._recorded.popitem(last=False)

    async def _read(self, repository: str, digest: Digest) -> Pushed:
        try:
            content = await self._stored.read(repository, digest, MANIFEST_BYTES_MAX)
        except (NotFound, Unavailable):

            async def fetch() -> None:
                await self._origins.fetch(repository, digest, manifest=True)

            await patient(fetch, CHECK_S)
            content = await self._stored.read(repository, digest, MANIFEST_BYTES_MAX)
        try:
            return Pushed(digest, len(content), parse(content, None))
        except Misuse as fault:
            raise Corrupt(f"the upstream's manifest is of no use: {fault}") from fault

    async def _below(self, repository: str, pushed: Pushed) -> Sequence[Pushed]:
        """Those manifests of an index that clients have asked for."""
        found: list[Pushed] = []
        children = [one.digest for one in pushed.manifest.references if one.is_manifest]
        for digest in children[:BELOW_MAX]:
            with contextlib.suppress(NotFound, Unavailable, Misuse):
                content = await self._stored.read(repository, digest, MANIFEST_BYTES_MAX)
                found.append(Pushed(digest, len(content), parse(content, None)))
        return found

    def _forget(self, name: TagName) -> None:
        known = self._known(name)
        if known is not None:
            with contextlib.suppress(NotFound):
                self._store.delete_tag(name)
            self._store.forget_untagged(name.repository, known)

    def _known(self, name: TagName) -> Digest | None:
        try:
            return self._store.get(name)
        except NotFound:
            return None

    def _upstream(self, name: TagName) -> tuple[Upstream, str]:
        found = split(name.repository, self._upstreams)
        if found is None:
            raise NotFound("no upstream's repository", repository=name.repository)
        return self._upstreams[found[0]], found[1]
