"""One client: it speaks the registry API, and notes what it did and was told."""

from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from octopull.kernel.digest import Digest
from support.chaos.books import Books
from support.chaos.history import Action, History, Operation, Outcome, Tag
from support.images import Image
from support.registry import Answer, Registry

CLIENT_S = 20.0
"""After which a client gives up, and a request has failed."""


class Target(NamedTuple):
    """Whom a client asks."""

    name: str
    address: str


class Asked(NamedTuple):
    """One request of a pull, from when to when, and whether it gave what it should."""

    via: str
    from_s: float
    to_s: float
    fine: bool
    said: str


@dataclass
class Noted:
    """What all clients of a run share."""

    session: aiohttp.ClientSession
    history: History
    books: Books
    wrong: list[str] = field(default_factory=list[str])
    """Answers with other bytes than were pushed, each in a line."""
    missed: list[str] = field(default_factory=list[str])
    """Answers that there is no such thing, of things that were acknowledged."""


def session() -> aiohttp.ClientSession:
    """For clients whose requests are sent once: on a connection that is kept, aiohttp may repeat
    one whose answer got lost, and nobody would know that it was done twice.
    """
    return aiohttp.ClientSession(
        auto_decompress=False, timeout=aiohttp.ClientTimeout(total=CLIENT_S),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
    )  # fmt: skip


class Client:
    """Asks one thing after another."""

    def __init__(self, name: str, noted: Noted) -> None:
        self._name = name
        self._noted = noted
        self._history = noted.history

    async def push(self, proxy: Target, tag: Tag, pushed: Image) -> Outcome:
        """All of an image; the tag is asked for once its blobs are acknowledged."""
        for blob in pushed.blobs:
            digest = Digest.of(blob)
            path = f"/v2/{tag.repository}/blobs/uploads/?digest={digest}"
            answer, _ = await self._ask(proxy, "POST", path, blob)
            if answer is None or answer.status != 201:
                return Outcome.REFUSED
            self._noted.books.blobs.add(digest)
        return await self.move(proxy, tag, pushed, Action.PUSH)

    async def move(
        self, proxy: Target, tag: Tag, pushed: Image, action: Action = Action.MOVE
    ) -> Outcome:
        """Let the tag stand for an image whose blobs are there."""
        value = str(Digest.of(pushed.manifest))
        one = self._history.began(self._name, action, tag, proxy.name, value)
        path = f"/v2/{tag.repository}/manifests/{tag.name}"
        answer, why = await self._ask(proxy, "PUT", path, pushed.manifest)
        outcome = _outcome(answer)
        if outcome is Outcome.DONE:
            self._noted.books.acknowledged(tag.repository, pushed)
        self._history.ended(one, outcome, why)
        if answer is not None and answer.status == 404:
            self._noted.missed.append(f"what was to be pushed lacks parts: {one}")
        return outcome

    async def delete(self, proxy: Target, tag: Tag) -> Outcome:
        """Forget a tag; who hears that there is none has only read that."""
        one = self._history.began(self._name, Action.DELETE, tag, proxy.name)
        path = f"/v2/{tag.repository}/manifests/{tag.name}"
        answer, why = await self._ask(proxy, "DELETE", path)
        outcome = _outcome(answer)
        if answer is not None and answer.status == 404:
            one.action, outcome = Action.PULL, Outcome.DONE
        self._history.ended(one, outcome, why)
        return outcome

    async def resolve(self, at: Target, tag: Tag) -> tuple[Operation, Asked]:
        """The manifest that a tag stands for, or that it stands for none."""
        one = self._history.began(self._name, Action.PULL, tag, at.name)
        path = f"/v2/{tag.repository}/manifests/{tag.name}"
        answer, why = await self._ask(at, "GET", path)
        if answer is not None and answer.status == 200:
            one.value = str(Digest.of(answer.body))
            one.stale = "Warning" in answer.headers
            said = answer.headers.get("Docker-Content-Digest")
            if one.value != said or one.value not in self._noted.books.images:
                self._noted.wrong.append(f"a manifest that nobody pushed so: {one}")
        known = answer is not None and answer.status in {200, 404}
        self._history.ended(one, Outcome.DONE if known else Outcome.UNKNOWN, why)
        fine = answer is not None and answer.status == 200
        return one, Asked(at.name, one.invoked_s, self._history.now(), fine, why)

    async def pull(self, at: Target, tag: Tag) -> list[Asked]:
        """The manifest and all blobs, as far as they come; each byte is compared."""
        one, first = await self.resolve(at, tag)
        image = self._noted.books.images.get(one.value or "")
        if image is None:
            return [first]
        return [first, *[await self.read(at, tag.repository, "blobs", blob)
                         for blob in image.blobs]]  # fmt: skip

    async def read(self, at: Target, repository: str, kind: str, content: bytes) -> Asked:
        """The manifest or blob that has the digest of ``content``."""
        digest, from_s = Digest.of(content), self._history.now()
        answer, why = await self._ask(at, "GET", f"/v2/{repository}/{kind}/{digest}")
        to_s = self._history.now()
        story = f"{from_s:.3f}..{to_s:.3f} {self._name}: {kind} {digest} via {at.name}"
        if answer is not None and answer.status == 200 and answer.body != content:
            self._noted.wrong.append(f"other bytes ({len(answer.body)} of {len(content)}): {story}")
            return Asked(at.name, from_s, to_s, False, "other bytes")
        if answer is not None and answer.status == 404:
            self._noted.missed.append(f"not found: {story}")
        fine = answer is not None and answer.status == 200
        return Asked(at.name, from_s, to_s, fine, why)

    async def _ask(
        self, at: Target, method: str, path: str, data: bytes | None = None
    ) -> tuple[Answer | None, str]:
        """The answer, if a whole one came; and if it is no success, what it says."""
        try:
            answer = await Registry(self._noted.session, at.address)(method, path, data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, type(error).__name__
        return answer, "" if answer.status < 300 else f"{answer.status} {answer.body[:160]!r}"


def _outcome(answer: Answer | None) -> Outcome:
    if answer is None or answer.status >= 500:
        return Outcome.UNKNOWN
    return Outcome.DONE if answer.status < 300 else Outcome.REFUSED
