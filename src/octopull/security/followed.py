"""A file that is read anew when it changes; one that is wrong by then changes nothing.

So is one that names others, such as keys, when those change (``Beside``).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from octopull.kernel.errors import Misuse
from octopull.observability import logs, metrics

log = logs.get("access")
T = TypeVar("T")
FILE_BYTES_MAX = 16 * 1024 * 1024

Stamp = tuple[int, int, int] | None
"""What changes when a file does; None if there is none."""


class Following(Protocol):
    """What has to look at its file every so often."""

    async def look(self) -> None:
        """Let the file count as it is, unless it has changed since the last look, too."""
        ...


class Beside:
    """Files that another one names, by paths relative to it."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path).parent
        self._read: dict[Path, Stamp] = {}

    def forget(self) -> None:
        """What names them is about to be read again."""
        self._read = {}

    @property
    def as_read(self) -> tuple[Stamp, ...]:
        """What they were when they were read, those included that weren't there."""
        return tuple(self._read.values())

    @property
    def as_now(self) -> tuple[Stamp, ...]:
        """The same, of what they are by now."""
        return tuple(map(_stamp, self._read))

    def read(self, name: str) -> bytes:
        """The bytes of one.

        Raises:
            Misuse: there is none, or it is too long.

        """
        path = self._folder / name
        try:
            self._read[path] = _stamp(path)
            return _content(path)
        except ValueError as error:
            raise Misuse("not the name of a file") from error


class FollowedFile(Generic[T]):
    """What ``parse`` makes of a file's bytes, now. ``what`` names it in logs and metrics.

    Those ``beside`` it that ``parse`` reads are looked at, too.

    Raises:
        Misuse: it is wrong from the start.

    """

    def __init__(
        self, path: str, what: str, parse: Callable[[bytes], T], beside: Beside | None = None
    ) -> None:
        self._path = Path(path)
        self._what = what
        self._parse = parse
        self._beside = Beside(path) if beside is None else beside
        self._seen: tuple[Stamp, ...] = ()
        self._read: tuple[Stamp, ...] = ()
        self.now = self._take()

    async def look(self) -> None:
        """As ``Following``: half a file, on its way to the disk, is not read."""
        stamps, seen = await asyncio.to_thread(self._stamps), self._seen
        self._seen = stamps
        if stamps != seen or stamps == self._read:
            return
        try:
            self.now = await asyncio.to_thread(self._take)
        except Misuse as fault:
            log.warning("access.refused", file=str(self._path), reason=str(fault))
            metrics.ACCESS_FILES_REFUSED.labels(self._what).set(1)
        else:
            log.info("access.read", file=str(self._path), what=self._what)
            metrics.ACCESS_FILES_REFUSED.labels(self._what).set(0)

    def _stamps(self) -> tuple[Stamp, ...]:
        return _stamp(self._path), *self._beside.as_now

    def _take(self) -> T:
        own = _stamp(self._path)
        self._beside.forget()
        try:
            return self._parse(_content(self._path))
        except Misuse as fault:
            raise Misuse(f"{self._path}: {fault}") from fault
        finally:
            # What changed since it was read is seen as a change.
            self._seen = self._read = own, *self._beside.as_read


def _content(path: Path) -> bytes:
    """Raises Misuse: there is no such file, or it is too long."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Misuse(str(error.strerror)) from error
    if len(content) > FILE_BYTES_MAX:
        raise Misuse(f"such files end at {FILE_BYTES_MAX} bytes")
    return content


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
