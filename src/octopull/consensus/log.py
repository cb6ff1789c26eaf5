"""The log in memory: entries behind a base, whose own entries the book has."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.consensus.messages import Entry

OVERHEAD_BYTES = 100
"""What an entry takes besides its payload."""


@dataclass(slots=True)
class Log:
    """Entries are numbered from 1; those up to ``base_index`` are not here any more."""

    base_index: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list[Entry])
    size: int = 0
    """Bytes of the entries here."""

    def __post_init__(self) -> None:
        self.size = sum(map(_size, self.entries))

    @property
    def last_index(self) -> int:
        """Of the newest entry; 0 if there never was one."""
        return self.base_index + len(self.entries)

    @property
    def last_term(self) -> int:
        """Of the newest entry; 0 if there never was one."""
        return self.entries[-1].term if self.entries else self.base_term

    def term(self, index: int) -> int | None:
        """Of the entry at ``index``; None if it isn't here."""
        if index == self.base_index:
            return self.base_term
        if self.base_index < index <= self.last_index:
            return self.entries[index - self.base_index - 1].term
        return None

    def between(self, after: int, until: int) -> list[Entry]:
        """The entries ``after + 1`` to ``until``."""
        return self.entries[after - self.base_index : until - self.base_index]

    def batch(self, after: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries behind ``after``: one at least, if there is one, and up to ``bytes_max``."""
        found: list[Entry] = []
        for entry in self.entries[after - self.base_index :]:
            bytes_max -= _size(entry)
            if found and bytes_max < 0:
                break
            found.append(entry)
        return tuple(found)

    def replace(self, after: int, entries: Sequence[Entry]) -> None:
        """Let ``entries`` follow the one at ``after``, in place of what did."""
        gone = self.entries[after - self.base_index :]
        del self.entries[after - self.base_index :]
        self.entries.extend(entries)
        self.size += sum(map(_size, entries)) - sum(map(_size, gone))

    def forget(self, until: int) -> None:
        """Drop the entries up to ``until``."""
        self.base_term = self.term(until) or 0
        self.size -= sum(map(_size, self.entries[: until - self.base_index]))
        del self.entries[: until - self.base_index]
        self.base_index = until

    def reset(self, index: int, term: int) -> None:
        """Begin behind ``index``; what follows it stays if it follows that very entry."""
        if self.base_index <= index and self.term(index) == term:
            self.forget(index)
        else:
            self.base_index, self.base_term, self.size = index, term, 0
            self.entries.clear()

    def first_of_term(self, index: int) -> int:
        """The first entry here of the term that the one at ``index`` has."""
        term = self.term(index)
        while index > self.base_index + 1 and self.term(index - 1) == term:
            index -= 1
        return index


def _size(entry: Entry) -> int:
    return len(entry.payload) + OVERHEAD_BYTES
