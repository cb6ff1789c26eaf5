"""Paged lists: ``n``, ``last`` and ``Link`` (distribution-spec 1.1, "Listing Tags")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from octopull.kernel.errors import Misuse

PAGE_MAX = 1000
LAST_CHARS_MAX = 256


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
        return cls(min(int(text), PAGE_MAX), query.get("last", "")[:LAST_CHARS_MAX])

    def link(self, path: str, entries: Sequence[str]) -> dict[str, str]:
        """The ``Link`` header to what follows ``entries``; none behind a page not full."""
        if not self.count or len(entries) < self.count:
            return {}
        return self.link_behind(entries[-1], path, {})

    def link_behind(self, last: str, path: str, kept: Mapping[str, str]) -> dict[str, str]:
        """The ``Link`` header to what follows ``last``; the next request needs ``kept``, too."""
        query = urlencode({**kept, "n": self.count, "last": last})
        return {"Link": f'<{path}?{query}>; rel="next"'}
