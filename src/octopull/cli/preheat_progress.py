"""How far a preheat is: a bar on a terminal, a line per change elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from octopull.kernel.errors import Fault
from octopull.kernel.units import show_size
from octopull.placement.heartbeats import Standing


class Shown:
    """Told of standings, it tells a person."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console = console
        self._bars = bars
        self._bar: TaskID | None = None if bars is None else bars.add_task("", total=None)
        self._said = ""

    def standing(self, now: Standing) -> None:
        """How far it is now."""
        agents = f"{now.done}/{now.agents} agents" + (f", {now.failed} failed" * bool(now.failed))
        if not now.settled:
            agents += " so far"
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, description=agents, completed=now.bytes_done,
                              total=now.bytes_total or None)  # fmt: skip
            return
        self._say(f"{agents}, {show_size(now.bytes_done)} of {show_size(now.bytes_total)}")

    def trouble(self, fault: Fault) -> None:
        """It can't be told how far it is."""
        self._say(f"waiting: {fault}")

    def _say(self, line: str) -> None:
        if line != self._said:
            self._console.print(line, markup=False)
            self._said = line


@contextmanager
def showing() -> Iterator[Shown]:
    """Show it on standard error until the block ends."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not sys.stderr.isatty():
        yield Shown(console, None)
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
                  console=console) as bars:  # fmt: skip
        yield Shown(console, bars)
