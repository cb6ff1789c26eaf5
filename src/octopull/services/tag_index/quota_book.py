"""Decides whether what is pushed fits into the quotas of its repository, by what the book says.

A push is decided in the transaction that records it. All of them run one after the other, on the
one tag index that leads, so two that come at once by different proxies never go beyond together.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Denied
from octopull.observability import metrics
from octopull.security.globs import Glob
from octopull.services.tag_index import usage
from octopull.services.tag_index.database import Database
from octopull.services.tag_index.holdings import Holdings
from octopull.services.tag_index.quotas import LIMIT, Ledger, Quota, Quotas


@dataclass(frozen=True, slots=True)
class Counted:
    """Which quotas there are now, and which repositories are of upstreams: those count nowhere."""

    quotas: Callable[[], Quotas]
    upstream: Callable[[str], bool]

    def of(self, repository: str) -> list[Quota]:
        """The quotas that count for ``repository``."""
        return [] if self.upstream(repository) else self.quotas().of(repository)


NOTHING = Counted(Quotas, lambda _: False)
"""There are no quotas."""


class QuotaBook:
    """The quotas of ``counted``, and the ledgers beside the book.

    Calls block and may come from any thread.
    """

    def __init__(self, database: Database, holdings: Holdings, counted: Counted) -> None:
        self._db = database
        self._holdings = holdings
        self._counted = counted
        self._lock = threading.Lock()
        self._ledgers: dict[tuple[str, tuple[Glob, ...]], Ledger] = {}

    @property
    def all(self) -> list[Quota]:
        """Those there are now."""
        return list(self._counted.quotas().all)

    def limits(self, repository: str) -> bool:
        """Whether there is a quota for ``repository``."""
        return bool(self._counted.of(repository))

    def differ(self, repository: str, sizes: Mapping[Digest, int]) -> bool:
        """Whether a quota counts them, and does not know yet that they have these sizes."""
        return self.limits(repository) and bool(usage.differing(self._db, sizes))

    def admit(
        self, repository: str, arriving: Mapping[Digest, int], *, exempt: bool = False
    ) -> None:
        """``arriving``, by their sizes in bytes, are about to be held; within the transaction.

        ``exempt``: they count, whether or not there is room.

        Raises:
            Denied: a quota would be exceeded.

        """
        quotas = self._counted.of(repository)
        if not quotas:
            return
        fresh = usage.differing(self._db, arriving)
        new = sum(
            size
            for digest, size in arriving.items()
            if digest in fresh or not self._holdings.held(repository, digest)
        )
        with self._counting():
            for quota in quotas:
                ledger, counted = self._ledger(quota), new
                if not exempt and not _fits(ledger, new, quota):
                    names = self._repositories(self._db, quota)
                    found = usage.weigh(self._db, names, arriving)
                    ledger.measured(found.used, ledger.mark)
                    quota.check(found.used, found.adding)
                    counted = found.adding + found.unnoted
                ledger.admitted(counted)
        usage.note(self._db, arriving)

    def room(self, repository: str, arriving: Mapping[Digest, int], more: int) -> dict[str, int]:
        """By quota, how many bytes may be added to what ``repository`` is counted with.

        Raises:
            Denied: ``arriving``, by sizes in bytes, and ``more`` besides would be too much.

        """
        left: dict[str, int] = {}
        with self._counting():
            for quota in self._counted.of(repository):
                ledger = self._ledger(quota)
                used, adding = ledger.most, sum(arriving.values())
                if used is None or used + adding + more >= quota.limit:
                    used, adding = self.measure(quota, arriving)
                    quota.check(used, adding + more)
                left[quota.name] = max(quota.limit - used, 0)
        return left

    def measure(self, quota: Quota, arriving: Mapping[Digest, int]) -> tuple[int, int]:
        """What is used of ``quota``, and what ``arriving`` would add; others go on meanwhile."""
        ledger = self._ledger(quota)
        # No change is under way now: what was admitted before is in the book, or never will be.
        with self._db.transaction():
            mark, snapshot = ledger.mark, self._db.snapshot()
        with snapshot:
            found = usage.weigh(snapshot, self._repositories(snapshot, quota), arriving)
        with self._db.transaction():
            ledger.measured(found.used, mark)
        return found.used, found.adding

    def unknown(self, count: int) -> dict[Digest, str]:
        """Up to ``count`` digests that count, and of which nobody noted the size.

        Each with a repository that holds it.
        """
        for quota in self.all:
            with self._db.snapshot() as snapshot:
                names = self._repositories(snapshot, quota)
                found = usage.unknown(snapshot, names, count)
            if found:
                return found
        return {}

    def note(self, sizes: Mapping[Digest, int]) -> None:
        """Digests that are held have these sizes."""
        with self._db.transaction():
            usage.note(self._db, sizes)
            self.forget()

    def forget(self) -> None:
        """Another tag index may have changed the book."""
        with self._lock:
            self._ledgers.clear()

    def _ledger(self, quota: Quota) -> Ledger:
        with self._lock:
            return self._ledgers.setdefault((quota.name, quota.globs), Ledger())

    def _repositories(self, book: usage.Reading, quota: Quota) -> list[str]:
        found = usage.repositories(book, quota.globs)
        return [one for one in found if not self._counted.upstream(one)]

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except Denied:
            metrics.LIMITED.labels("tag_index", LIMIT).inc()
            raise


def _fits(ledger: Ledger, new: int, quota: Quota) -> bool:
    """Whether ``new`` bytes surely do."""
    return not new or (ledger.most is not None and ledger.most + new <= quota.limit)
