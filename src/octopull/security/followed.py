"""A file that is read anew when it changes; one that is wrong by then changes nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from octopull.kernel.errors import Misuse
from octopull.observability import logs, metrics

log = logs.get("access")
T = TypeVar("T")
FILE_BYTES_MAX = 16 * 1024 * 1024

Signature = tuple[int, int, int]


class Following(Protocol):
    """What has to look at its file every so often."""

    async def look(self) -> None:
        """Let the file count as it is, unless it has changed since the last look, too."""
        ...


class FollowedFile(Generic[T]):
    """What ``parse`` makes of a file's bytes, now. ``what`` names it in logs and metrics.

    Raises:
        Misuse: it is wrong from the start.

    """

    def __init__(self, path: str, what: str, parse: Callable[[bytes], T]) -> None:
        self._path = Path(path)
        self._what = what
        self._parse = parse
        self._seen = self._read = _signature(self._path)
        self.now = self._take()

    async def look(self) -> None:
        """As ``Following``: half a file, on its way to the disk, is not read."""
        signature, seen = await asyncio.to_thread(_signature, self._path), self._seen
        self._seen = signature
        if signature != seen or signature == self._read:
            return
        self._read = signature
        try:
            self.now = await asyncio.to_thread(self._take)
        except Misuse as fault:
            log.warning("access.refused", file=str(self._path), reason=str(fault))
            metrics.ACCESS_FILES_REFUSED.labels(self._what).set(1)
        else:
            log.info("access.read", file=str(self._path), what=self._what)
            metrics.ACCESS_FILES_REFUSED.labels(self._what).set(0)

    def _take(self) -> T:
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise Misuse(f"{self._path}: {error.strerror}") from error
        if len(content) > FILE_BYTES_MAX:
            raise Misuse(f"{self._path}: such files end at {FILE_BYTES_MAX} bytes")
        try:
            return self._parse(content)
        except Misuse as fault:
            raise Misuse(f"{self._path}: {fault}") from fault


def _signature(path: Path) -> Signature | None:
    """What changes when the file does; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
