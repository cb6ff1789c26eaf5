"""The file of rules, read anew when it changes; one that is wrong changes nothing."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from octopull.config import load
from octopull.config.replication import ReplicationSettings, RulesSettings
from octopull.kernel.errors import Misuse
from octopull.observability import logs, metrics
from octopull.replication.rules import Rules

log = logs.get("replication")
SECTION = "replication"
"""What mistakes in the file are told under."""

Signature = tuple[int, int, int]


class RulesFile:
    """The rules that count now. A file that is wrong from the start is refused.

    Raises:
        Misuse: every mistake at once.

    """

    def __init__(self, settings: ReplicationSettings) -> None:
        self._path = Path(settings.rules) if settings.rules else None
        self._check_s = settings.check_s
        self._seen: Signature | None = None
        self._read: Signature | None = None
        self.changed = asyncio.Event()
        """Set when other rules may count; whoever waits for that clears it."""
        self.refused = ""
        """Why the file as it is now does not count; empty if it does."""
        self.rules = Rules(RulesSettings())
        if self._path is not None:
            self._seen = self._read = _signature(self._path)
            self.rules = parse(self._path)

    def remotes_of(self, repository: str) -> Iterable[str]:
        """The names of the remotes that ``repository`` goes to."""
        return self.rules.routes(repository)

    async def follow(self) -> None:
        """Let the file count as it is, until cancelled."""
        while self._path is not None:
            await self.look()
            await asyncio.sleep(self._check_s)

    async def catch_up(self) -> None:
        """Returns once the file counts as it is, unless it changes all the time."""
        if not await self.look():
            await asyncio.sleep(self._check_s)
            await self.look()

    async def look(self) -> bool:
        """Whether the file counts as it is, or is wrong; not yet if it differs from the last look."""
        if self._path is None:
            return True
        signature, seen = await asyncio.to_thread(_signature, self._path), self._seen
        self._seen = signature
        if signature not in {seen, self._read}:
            return False
        if signature != self._read:
            self._read = signature
            await asyncio.to_thread(self._take, self._path)
            self.changed.set()
        return True

    def _take(self, path: Path) -> None:
        try:
            self.rules = parse(path)
        except Misuse as fault:
            self.refused = str(fault)
            log.warning("rules.refused", path=str(path), reason=str(fault))
        else:
            self.refused = ""
            log.info("rules.read", path=str(path), remotes=sorted(self.rules.remotes))
        metrics.REPLICATION_RULES_REFUSED.set(bool(self.refused))


def parse(path: Path) -> Rules:
    """The rules in a file.

    Raises:
        Misuse: every mistake at once.

    """
    return Rules(load.load(RulesSettings, SECTION, {SECTION: load.read(path)}, {}))


def _signature(path: Path) -> Signature | None:
    """What changes when the file does; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
