"""Which upload sessions became which blobs, so that a commit whose answer was lost can be repeated.

    root/committed/<session>    a link that names the digest, and leads nowhere

Links outlive the process. They are not synced: after a loss of power a client uploads again.
"""

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest
from octopull.storage import durable

COUNT_MAX = 10_000
"""Sessions whose commit may be asked for again, which clients do within seconds."""


class Committed:
    """The latest ``COUNT_MAX`` of one store. Calls block and may come from any thread."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "committed"
        self._digests = OrderedDict[str, Digest]()
        self._lock = threading.Lock()
        with durable.disk_faults("opening the store"):
            durable.make_folder(self._folder)
            with os.scandir(self._folder) as found:
                links = [(one.stat(follow_symlinks=False).st_mtime_ns, one.name) for one in found]
            for _, session in sorted(links):
                with contextlib.suppress(OSError, InvalidDigest):
                    digest = Digest.parse(os.readlink(self._folder / session))  # noqa: PTH115 - no path
                    self._digests[session] = digest
            self._forget_old()

    def note(self, session: str, digest: Digest) -> None:
        """``session`` has the bytes of ``digest``, and is about to become it."""
        with self._lock, durable.disk_faults("noting a commit"):
            with contextlib.suppress(FileExistsError):
                (self._folder / session).symlink_to(str(digest))
            self._digests[session] = digest
            self._forget_old()

    def of(self, session: str) -> Digest | None:
        """What became of ``session``, if that was lately."""
        with self._lock:
            return self._digests.get(session)

    def _forget_old(self) -> None:
        while len(self._digests) > COUNT_MAX:
            session, _ = self._digests.popitem(last=False)
            (self._folder / session).unlink(missing_ok=True)
