"""Blobs that arrive in order from a client: resumable sessions, hashed as they are written."""

import contextlib
import hashlib
import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from octopull.blob.hashing import LeafHasher
from octopull.blob.metainfo import Metainfo, describe
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, InvalidName, InvalidRange, NotFound
from octopull.storage import durable
from octopull.storage.committed import Committed
from octopull.storage.disk import DiskStore
from octopull.storage.durable import disk_faults

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
READ_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Session:
    """One upload: its file, and hashes over all of the file's bytes.

    Which digest the client will claim is told at the commit; SHA-256 is what most do.
    """

    path: Path
    fd: int
    size: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    leaves: LeafHasher = field(default_factory=LeafHasher)
    lock: threading.Lock = field(default_factory=threading.Lock)
    hashed: bool = True
    over: bool = False

    def catch_up(self) -> None:
        """Hash what an earlier process wrote; ``lock`` must be held."""
        if not self.hashed:
            with disk_faults("resuming an upload"):
                while chunk := os.pread(self.fd, READ_BYTES, self.size):
                    self.feed(chunk)
            self.hashed = True

    def start_over(self) -> None:
        """The file changed: hash it anew when it is next used."""
        self.size, self.hashed = 0, False
        self.digest, self.leaves = hashlib.sha256(), LeafHasher()

    def feed(self, content: bytes | memoryview) -> None:
        self.digest.update(content)
        self.leaves.update(content)
        self.size += len(content)

    def found(self, algorithm: Algorithm) -> Digest:
        """The digest of the session's bytes; any but SHA-256 reads the file; ``lock`` held."""
        if algorithm is Algorithm.SHA256:
            return Digest(self.digest.hexdigest())
        hasher, at = algorithm.hasher(), 0
        with disk_faults("hashing an upload"):
            while at < self.size:
                chunk = os.pread(self.fd, min(READ_BYTES, self.size - at), at)
                if not chunk:
                    raise Corrupt("the upload's file ends early", at=at)
                hasher.update(chunk)
                at += len(chunk)
        return Digest(hasher.hexdigest(), algorithm)


class Uploads:
    """Upload sessions of one store. Calls block and may come from any thread.

    A session outlives a restart: its file is hashed again when it is next asked for.
    """

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}
        self._committed = Committed(store.root)
        self._lock = threading.Lock()

    def start(self) -> str:
        """Open a session; its id has 32 hexadecimal characters."""
        session_id = os.urandom(16).hex()
        self._open(session_id)
        return session_id

    def _open(self, session_id: str) -> None:
        path = self._store.uploads_root / session_id
        with disk_faults("starting an upload"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with self._lock:
            self._sessions[session_id] = _Session(path, fd)

    def resume(self, session_id: str) -> int:
        """Go on with a session of this id, or open it; bytes it holds.

        Raises:
            InvalidName: not an id.

        """
        with contextlib.suppress(NotFound):
            return self.size(session_id)
        self._open(session_id)
        return 0

    def size(self, session_id: str) -> int:
        """Bytes the session holds.

        Raises:
            InvalidName: not an id. NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock:
            self._check_open(session)
            session.catch_up()
            return session.size

    def append(self, session_id: str, offset: int, chunk: bytes | memoryview) -> int:
        """Write ``chunk`` at the session's end, which must be ``offset``; returns the new size.

        Raises:
            InvalidRange: the session ends elsewhere. NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock, disk_faults("writing an upload"):
            self._check_open(session)
            session.catch_up()
            if offset != session.size:
                raise InvalidRange("the session ends elsewhere", offset=offset, size=session.size)
            try:
                durable.pwrite_all(session.fd, chunk, offset)
            except OSError:
                # Part of it may be written; a restart must not take it for accepted bytes.
                os.ftruncate(session.fd, session.size)
                raise
            session.feed(chunk)
            return session.size

    def rewind(self, session_id: str, size: int) -> None:
        """Forget the bytes behind the first ``size``.

        Raises:
            InvalidRange: there are fewer. NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock, disk_faults("rewinding an upload"):
            self._check_open(session)
            session.catch_up()
            if size > session.size:
                raise InvalidRange("the session ends before that", size=session.size)
            if size < session.size:
                os.ftruncate(session.fd, size)
                session.start_over()

    def commit(
        self, session_id: str, digest: Digest, *, lone: bool = False, unspread: bool = False,
        touched_ns: int | None = None,
    ) -> Metainfo:  # fmt: skip
        """Make the session's bytes the blob ``digest``; durable when this returns.

        ``lone``, ``unspread`` and ``touched_ns`` are as of ``DiskStore.adopt``. Under another algorithm than
        SHA-256 the bytes are read once more.

        Raises:
            InvalidDigest: they have another digest; the session is over.
            NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock:
            self._check_open(session)
            session.catch_up()
            self._prove(session_id, session, digest)
            metainfo = describe(digest, session.size, session.leaves)
            # Before: whenever this process dies, either the session is there or what became of it.
            self._committed.note(session_id, digest)
            with disk_faults("committing an upload"):
                # The file may hold more than was hashed, if a write failed half-way.
                os.ftruncate(session.fd, session.size)
            self._store.adopt(
                session.path, session.fd, metainfo,
                lone=lone, unspread=unspread, touched_ns=touched_ns,
            )  # fmt: skip
            self._end(session_id, session)
            return metainfo

    def committed(self, session_id: str) -> Digest | None:
        """What became of a session that was committed lately."""
        return self._committed.of(session_id)

    def file(self, session_id: str) -> int:
        """A file number of its own for the session's bytes, to be read and closed by the caller.

        Raises:
            NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock, disk_faults("opening an upload"):
            self._check_open(session)
            return os.dup(session.fd)

    def whole_pieces(self, session_id: str, piece_length: int, first: int) -> list[bytes]:
        """Hashes of the pieces from ``first`` on that are whole by now.

        Raises:
            NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock:
            self._check_open(session)
            session.catch_up()
            return session.leaves.whole_pieces(piece_length, first)

    def prove(self, session_id: str, digest: Digest) -> tuple[bytes, ...]:
        """Check that the session's bytes are those of ``digest``; hashes of all pieces.

        Raises:
            InvalidDigest: they have another digest; the session is over.
            NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock:
            self._check_open(session)
            session.catch_up()
            self._prove(session_id, session, digest)
            return describe(digest, session.size, session.leaves).piece_hashes

    def _prove(self, session_id: str, session: _Session, digest: Digest) -> None:
        found = session.found(digest.algorithm)
        if found != digest:
            self._end(session_id, session)
            raise InvalidDigest(
                "the bytes have another digest", claimed=str(digest), found=str(found)
            )

    def abort(self, session_id: str) -> None:
        """Drop the session.

        Raises:
            InvalidName: not an id. NotFound: no such session.

        """
        session = self._session(session_id)
        with session.lock:
            self._check_open(session)
            self._end(session_id, session)

    def expire(self, idle_s: float) -> int:
        """Drop sessions not written to for ``idle_s``; returns how many."""
        count, oldest = 0, time.time() - idle_s
        for path in self._store.uploads_root.iterdir():
            if _ID.fullmatch(path.name) is None:
                continue
            try:
                if path.stat().st_mtime < oldest:
                    self.abort(path.name)
                    count += 1
            except (FileNotFoundError, NotFound):
                continue  # Committed or aborted since it was listed.
        return count

    def _check_open(self, session: _Session) -> None:
        if session.over:
            raise NotFound("the upload session is over")

    def _session(self, session_id: str) -> _Session:
        if _ID.fullmatch(session_id) is None:
            raise InvalidName("not an upload session", session=session_id[:80])
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                session = self._resume(session_id)
                self._sessions[session_id] = session
            return session

    def _resume(self, session_id: str) -> _Session:
        path = self._store.uploads_root / session_id
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound("no such upload session", session=session_id) from None
        return _Session(path, fd, hashed=False)

    def _end(self, session_id: str, session: _Session) -> None:
        session.over = True
        # The file goes before the id: a request between the two must not resume it.
        session.path.unlink(missing_ok=True)
        with self._lock:
            self._sessions.pop(session_id, None)
        os.close(session.fd)
