"""Paged lists: ``n``, ``last`` and ``Link`` (distribution-spec 1.1, "Listing Tags")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from octopull.kernel.errors import Misuse

PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """``count`` entries after ``last``; without an ``n`` the server's own limit counts."""

    count: int
    last: str

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Page":
        """From a request's query.

        Raises:
            Misuse: ``n`` is no count.

        """
        text = query.get("n", str(PAGE_MAX))
        if not (text.isascii() and text.isdecimal() and len(text) <= 9):
            raise Misuse("n counts entries")
        return cls(min(int(text), PAGE_MAX), query.get("last", "")[:256])

    def link(self, path: str, entries: Sequence[str]) -> dict[str, str]:
        """The ``Link`` header to what follows ``entries``; none behind a page not full."""
        if not self.count or len(entries) < self.count:
            return {}
        query = urlencode({"n": self.count, "last": entries[-1]})
        return {"Link": f'<{path}?{query}>; rel="next"'}
