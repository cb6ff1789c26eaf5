"""Certificates that change while a service runs: what is made from files is made anew."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from octopull.config.tls import ClusterTls
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks
from octopull.security import mutual
from octopull.security.lifetimes import DAY_S, Stage, left_words, stage
from octopull.security.mutual import Mutual
from octopull.security.roles import Role

log = logs.get("security")
LOOK_S = 5.0
"""How often files are looked at: a new certificate counts this soon."""


class Ending(Protocol):
    """What is good until a certificate ends, at a time in Unix seconds."""

    @property
    def ends_at(self) -> float: ...


T = TypeVar("T", bound=Ending)


class Reloading(Generic[T]):
    """What ``load`` makes of ``files``, whose first one is the certificate that ends.

    Connections that are open keep what they began with.

    Raises:
        Misuse: the files are wrong. Later, wrong files change nothing, and the log tells.

    """

    def __init__(self, files: Sequence[str], load: Callable[[], T]) -> None:
        self._files = files
        self._load = load
        self._seen = self._signature()
        self.current = load()
        self._told: tuple[Stage, float] = (Stage.FINE, 0.0)
        self._tell(time.time())

    async def follow(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take what the files hold now, if they changed."""
        signature = self._signature()
        if signature != self._seen:
            try:
                self.current = self._load()
            except Fault as fault:
                # Perhaps the certificate is there and its key is not yet: asked again soon.
                log.warning("certificate.refused", file=self._files[0], reason=str(fault))
            else:
                self._seen = signature
                log.info("certificate.taken", file=self._files[0],
                         state=left_words(self.current.ends_at - time.time()))  # fmt: skip
        self._tell(time.time())

    def _tell(self, now: float) -> None:
        left_s = self.current.ends_at - now
        metrics.CERTIFICATE_LEFT_SECONDS.labels(Path(self._files[0]).name).set(left_s)
        found, (told, told_at) = stage(left_s), self._told
        if found is not Stage.FINE and (found is not told or now - told_at >= DAY_S):
            say = log.warning if found is Stage.SOON else log.error
            say("certificate.ends", file=self._files[0], state=left_words(left_s),
                what_to_do="octopull certs rotate, and bring the files here")  # fmt: skip
            self._told = found, now

    def _signature(self) -> list[tuple[int, int, int] | None]:
        return [_signature(path) for path in self._files]


def _signature(path: str) -> tuple[int, int, int] | None:
    """What changes when the file does; None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@asynccontextmanager
async def following(files: Sequence[str], load: Callable[[], T]) -> AsyncIterator[Reloading[T]]:
    """``Reloading``, which looks at the files until the block ends.

    Raises:
        Misuse: the files are wrong.

    """
    reloading = await asyncio.to_thread(Reloading, files, load)
    async with Tasks() as tasks:
        tasks.start(reloading.follow(), f"follow {files[0]}")
        yield reloading


@asynccontextmanager
async def known_as(own: Role, files: ClusterTls | None) -> AsyncIterator[Reloading[Mutual] | None]:
    """How a service that is ``own`` proves it to the others; None: in clear.

    Raises:
        Misuse: as ``mutual.load``.

    """
    if files is None:
        yield None
        return
    paths = [files.certificate, files.key, files.authority]
    async with following(paths, lambda: mutual.load(files, own)) as reloading:
        yield reloading
