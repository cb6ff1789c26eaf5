"""Progress of transfers: bars on a terminal, a line per finished blob elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)  # fmt: skip

from octopull.kernel.digest import Digest
from octopull.kernel.units import show_size


@dataclass(slots=True)
class Transfers:
    """Blobs on their way; told of bytes, it tells a person."""

    console: Console
    _bars: Progress | None
    _tasks: dict[Digest, TaskID] = field(default_factory=dict[Digest, TaskID])
    _sizes: dict[Digest, int] = field(default_factory=dict[Digest, int])

    def began(self, digest: Digest, size: int, done: int) -> None:
        """A blob of ``size`` bytes, ``done`` of which are there from before."""
        self._sizes[digest] = size
        if self._bars is not None:
            self._tasks[digest] = self._bars.add_task(digest.short, total=size, completed=done)

    def moved(self, digest: Digest, count: int) -> None:
        """``count`` bytes more."""
        if self._bars is not None:
            self._bars.advance(self._tasks[digest], count)

    def ended(self, digest: Digest, outcome: str) -> None:
        """The blob is done; ``outcome`` says how, in a word or two."""
        if self._bars is None:
            self.console.print(f"{digest.short} {show_size(self._sizes[digest])} {outcome}")


@contextmanager
def transfers() -> Iterator[Transfers]:
    """Show transfers on standard error until the block ends."""
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        yield Transfers(console, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn())  # fmt: skip
    with Progress(*columns, console=console) as bars:
        yield Transfers(console, bars)
