"""How tag indexes that share a book reach each other: messages that may get lost, and books."""

import asyncio
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from octopull.consensus.messages import Message
from octopull.http.client import Http
from octopull.kernel.errors import Corrupt, Fault, Unavailable
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.database import Database

log = logs.get("tag_index")
SEND_S = 5.0
BOOK_S = 600.0
WAITING_MAX = 64
"""Messages to one that does not answer: the older ones are no news any more."""

ENTRY_BYTES_MAX = 16 * 1024 * 1024
"""A longer change is refused: twenty thousand references of manifests take a few megabytes."""

BATCH_BYTES_MAX = 24 * 1024 * 1024
MESSAGES_BYTES_MAX = 48 * 1024 * 1024
"""One message may be beyond the batch."""

READ_BYTES = 1024 * 1024

BOOK_PREFIX = "book-"
MEMBER_HEADER = "Octopull-Member"
DIGEST_HEADER = "Octopull-Book-Sha256"
_DECODER = msgspec.msgpack.Decoder(list[Message])


def decode(body: bytes) -> Sequence[Message]:
    """The messages of a request.

    Raises:
        Corrupt: it holds something else.

    """
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not what members of a group say: {error}") from error


class Outbox:
    """What ``name`` has to say to each of ``others``, sent within ``tasks``.

    ``folder`` has room for copies of the book.
    """

    def __init__(
        self, http: Http, name: str, others: Sequence[str], tasks: Tasks, folder: Path
    ) -> None:
        self._http = http
        self._folder = folder
        self._headers = {MEMBER_HEADER: name}
        self._tasks = tasks
        self._waiting = {peer: deque[Message](maxlen=WAITING_MAX) for peer in others}
        self._news = {peer: asyncio.Event() for peer in others}
        self._books: set[str] = set()
        for peer in others:
            tasks.start(self._send(peer), f"tell {peer}")

    def put(self, peer: str, message: Message) -> None:
        """Say ``message`` to ``peer`` soon, if it can be reached."""
        self._waiting[peer].append(message)
        self._news[peer].set()

    async def _send(self, peer: str) -> None:
        waiting = self._waiting[peer]
        while True:
            self._news[peer].clear()
            if not waiting:
                await self._news[peer].wait()
            batch, size = list[msgspec.Raw](), 0
            while waiting and size < BATCH_BYTES_MAX:
                batch.append(msgspec.Raw(msgspec.msgpack.encode(waiting.popleft())))
                size += len(batch[-1])
            try:
                await self._http.call(
                    "POST", f"http://{peer}/agreement/messages", headers=self._headers,
                    data=msgspec.msgpack.encode(batch), timeout_s=SEND_S,
                )  # fmt: skip
            except Unavailable:
                pass  # The member asks again, or has newer things to say.
            except Fault as fault:
                log.warning("agreement.refused", peer=peer, reason=str(fault))

    def send_book(self, peer: str, term: int, database: Database) -> None:
        """Send the whole book to ``peer``, unless that is under way."""
        if peer not in self._books:
            self._books.add(peer)
            self._tasks.start(self._book(peer, term, database), f"book to {peer}")

    async def _book(self, peer: str, term: int, database: Database) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix=BOOK_PREFIX, dir=self._folder) as folder:
                path = Path(folder) / "book.sqlite"
                until = await asyncio.to_thread(database.copy, path)
                digest = await asyncio.to_thread(_digest, path)
                await self._http.call(
                    "POST", f"http://{peer}/agreement/book"
                    f"?term={term}&index={until.index}&entry_term={until.term}",
                    headers={**self._headers, DIGEST_HEADER: digest}, data=_content(path),
                    timeout_s=BOOK_S,
                )  # fmt: skip
                log.info("agreement.book_sent", peer=peer, bytes=path.stat().st_size)
        except (Fault, OSError) as fault:
            log.warning("agreement.book_not_sent", peer=peer, reason=str(fault))
        finally:
            self._books.discard(peer)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _content(path: Path) -> AsyncIterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while content := await asyncio.to_thread(os.read, fd, READ_BYTES):
            yield content
    finally:
        os.close(fd)
