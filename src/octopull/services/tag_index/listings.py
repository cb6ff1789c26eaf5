"""The tags that stores list, for as long as that counts; the book's own are merged with them.

Stores list in order of bytes, and we whatever the case: so a repository's tags are had whole.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from octopull.backends.contract import PAGE_MAX
from octopull.backends.tag_opening import OpenedTags
from octopull.kernel.errors import Fault, Pending, Unavailable, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.runtime.tasks import Tasks, happens

log = logs.get("tag_index")
WAIT_S = 4.0
"""A listing that takes longer is not waited for: the caller asks again, or has the last one."""

LISTING_S = 90.0
FAILED_S = 5.0
UNDER_WAY_MAX = 50
TAGS_MAX = 200_000
"""In one repository."""

KEPT_TAGS_MAX = 1_000_000
"""Of all listings that are kept."""


@dataclass(slots=True)
class Listing:
    """The tags of one repository in its store, once that has answered.

    ``told`` are tags that the store was told of meanwhile, of which the book knows better.
    """

    tags: frozenset[str] | None = None
    told: set[str] = field(default_factory=set[str])
    fault: Fault | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    until_s: float = 0.0


class Listings:
    """Lists tags in their stores, each repository once at a time."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._under_way: dict[str, Listing] = {}
        self._kept: OrderedDict[str, Listing] = OrderedDict()
        self._kept_tags = 0

    async def of(self, repository: str, opened: OpenedTags) -> tuple[Listing | None, str]:
        """The store's tags, and why they may be old (empty: they are not).

        Without tags: nobody knows them, or the store does not list.

        Raises:
            Pending: the store is still being asked.

        """
        kept = self._kept.get(repository)
        if kept is not None and time.monotonic() < kept.until_s:
            return kept, "" if kept.fault is None else str(kept.fault)
        listing = self._under_way.get(repository) or self._begin(repository, opened)
        await happens(listing.over, WAIT_S)
        last = self._kept.get(repository)
        if not listing.over.is_set():
            if last is None or last.tags is None:
                raise Pending("the tags are being listed", progress=time.monotonic_ns())
            return last, "the tags' store has not answered yet"
        return last, "" if listing.fault is None else str(listing.fault)

    def forget(self) -> None:
        """Others may have told the stores of changes: what was listed until now may be old."""
        self._kept.clear()
        self._kept_tags = 0

    def told(self, name: TagName) -> None:
        """The tag's store was told of a change: what it listed until now may be old."""
        for listings in (self._kept, self._under_way):
            listing = listings.get(name.repository)
            if listing is not None:
                listing.told.add(name.tag)

    def _begin(self, repository: str, opened: OpenedTags) -> Listing:
        if len(self._under_way) >= UNDER_WAY_MAX:
            raise Unavailable("too many repositories are being listed", most=UNDER_WAY_MAX)
        listing = self._under_way[repository] = Listing()
        self._tasks.start(self._run(repository, opened, listing), "list tags")
        return listing

    async def _run(self, repository: str, opened: OpenedTags, listing: Listing) -> None:
        hold_s = opened.settings.tag_ttl_s
        try:
            async with asyncio.timeout(LISTING_S):
                listing.tags = await _all(repository, opened)
        except Unsupported:
            pass
        except (Fault, TimeoutError) as error:
            fault = error if isinstance(error, Fault) else UpstreamFailed("the store is too slow")
            log.warning("tags.unlisted", repository=repository, reason=str(fault))
            listing.fault, hold_s = fault, min(hold_s, FAILED_S)
        except BaseException:
            listing.fault = Unavailable("the listing was broken off")
            raise
        finally:
            listing.until_s = time.monotonic() + hold_s
            del self._under_way[repository]
            self._keep(repository, listing)
            listing.over.set()

    def _keep(self, repository: str, listing: Listing) -> None:
        """A listing that failed lets the last one count still."""
        last = self._kept.pop(repository, None)
        if listing.fault is not None and last is not None:
            last.fault, last.until_s = listing.fault, listing.until_s
            listing = last
        elif last is not None:
            self._kept_tags -= len(last.tags or ())
        if listing is not last:
            self._kept_tags += len(listing.tags or ())
        self._kept[repository] = listing
        while self._kept_tags > KEPT_TAGS_MAX and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_tags -= len(oldest.tags or ())


async def _all(repository: str, opened: OpenedTags) -> frozenset[str]:
    found: set[str] = set()
    last = ""
    while True:
        page = await opened.tags.list(repository, last, PAGE_MAX)
        found.update(page)
        if len(page) < PAGE_MAX:
            return frozenset(found)
        if len(found) > TAGS_MAX:
            raise UpstreamFailed("the store lists too many tags", most=TAGS_MAX)
        last = page[-1]
