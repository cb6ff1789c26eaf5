"""Quotas as time goes by: their file, sizes that nobody noted, and how full they are for metrics."""

import asyncio
from functools import partial

from octopull.clients.origin import OriginCluster
from octopull.clients.quotas import QuotaUse, QuotaUses
from octopull.config.quotas import QuotaFileSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks, each
from octopull.security.followed import FollowedFile
from octopull.services.tag_index.database import Database
from octopull.services.tag_index.quota_book import QuotaBook
from octopull.services.tag_index.quotas import Quotas, parse

log = logs.get("tag_index")
SIZES_AT_ONCE = 500
"""In one transaction: those who share a book agree on entries of limited size."""

STREAMS = 8


class QuotaFile:
    """The quotas that count now.

    Raises:
        Misuse: the file is wrong from the start.

    """

    def __init__(self, settings: QuotaFileSettings) -> None:
        self._check_s = settings.check_s
        self._file = FollowedFile(settings.file, "quotas", parse) if settings.file else None

    @property
    def now(self) -> Quotas:
        """All of them."""
        return Quotas() if self._file is None else self._file.now

    async def follow(self) -> None:
        """Let the file count as it is, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(self._check_s)
            await self._file.look()


class Measuring:
    """Measures how full quotas are, and asks ``origins`` for sizes that nobody noted."""

    def __init__(
        self, quotas: QuotaBook, database: Database, origins: OriginCluster, every_s: float
    ) -> None:
        self._quotas = quotas
        self._database = database
        self._origins = origins
        self._every_s = every_s
        self._told: set[str] = set()

    async def uses(self) -> QuotaUses:
        """How full each quota is."""
        found: list[QuotaUse] = []
        for quota in self._quotas.all:
            used, _ = await asyncio.to_thread(self._quotas.measure, quota, {})
            patterns = [glob.text for glob in quota.globs]
            found.append(
                QuotaUse(name=quota.name, repositories=patterns, used=used, limit=quota.limit)
            )
        unknown = await asyncio.to_thread(self._quotas.unknown, SIZES_AT_ONCE)
        return QuotaUses(quotas=found, unknown=len(unknown))

    async def start(self, tasks: Tasks) -> None:
        """Tell metrics, as long as ``tasks`` live: what the one that leads does alone."""
        tasks.start(self._run(), "measure quotas")

    async def _run(self) -> None:
        seen: tuple[int, object] | None = None
        try:
            while True:
                now = self._database.changes, self._quotas.all
                if now != seen and now[1]:
                    try:
                        await self._look_up()
                        self._show(await self.uses())
                        seen = now
                    except Fault as fault:
                        log.warning("quotas.unmeasured", reason=str(fault))
                elif not now[1]:
                    self._show(QuotaUses(quotas=[]))
                await asyncio.sleep(self._every_s)
        finally:
            self._show(QuotaUses(quotas=[]))

    def _show(self, found: QuotaUses) -> None:
        for one in found.quotas:
            metrics.QUOTA_USED_BYTES.labels(one.name).set(one.used)
            metrics.QUOTA_LIMIT_BYTES.labels(one.name).set(one.limit)
        names = {one.name for one in found.quotas}
        for gone in self._told - names:
            metrics.QUOTA_USED_BYTES.remove(gone)
            metrics.QUOTA_LIMIT_BYTES.remove(gone)
        self._told = names

    async def _look_up(self) -> None:
        """Note the sizes of what counts and was pushed before there were quotas.

        Raises:
            Unavailable: those of some can't be had now.

        """
        while holders := await asyncio.to_thread(self._quotas.unknown, SIZES_AT_ONCE):
            sizes: dict[Digest, int] = {}
            await each(holders.items(), partial(self._ask, sizes), STREAMS)
            await asyncio.to_thread(self._quotas.note, sizes)
            log.info("quotas.sizes_noted", blobs=len(sizes))
            if len(sizes) < len(holders):
                raise Unavailable("not all sizes can be had", lacking=len(holders) - len(sizes))

    async def _ask(self, sizes: dict[Digest, int], one: tuple[Digest, str]) -> None:
        digest, repository = one
        try:
            sizes[digest] = await self._origins.stat(repository, digest)
        except NotFound:
            # It was lost, or never here: so it takes no place.
            sizes[digest] = 0
        except Unavailable as fault:
            log.info("quotas.size_unknown", digest=digest.short, reason=str(fault))
