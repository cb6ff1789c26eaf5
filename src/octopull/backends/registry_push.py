"""One blob into another registry (distribution-spec 1.1, "Pushing blobs").

It goes into an upload session, by as many requests as it takes: after one that broke the registry
says how much it has, and if it can't, a new session is begun. Hints may name a session that an
earlier push left, or another repository that has the blob.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from octopull.backends.authorization import Purpose
from octopull.backends.contract import Content
from octopull.backends.push_source import Source
from octopull.backends.registry import (
    FRUITLESS_MAX,
    RESUME_S,
    RESUME_S_MAX,
    RESUMES_MAX,
    RemoteRegistry,
)
from octopull.backends.registry_place import Role
from octopull.backends.requests import Ask
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.runtime.bandwidth import keep_to

log = logs.get("registry")
COMMIT_BYTES_PER_S = 20_000_000
"""A registry may copy the whole blob before it says that it has it."""

CANCEL_S = 5.0
LEFT_BYTES_MIN = 16 * 1024 * 1024
"""Of a smaller blob no other process need know how far it came."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MOUNTED = 201
_OCTETS = {"Content-Type": "application/octet-stream"}
_HELD = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)
_SENT = {
    Role.UPSTREAM: metrics.BACKEND_SENT_BYTES,
    Role.BACKEND: metrics.BACKEND_SENT_BYTES,
    Role.REMOTE: metrics.REPLICATION_BYTES,
}
_UNMOUNTABLE = frozenset({400, 401, 403, 404, 405})
_USELESS = frozenset({400, 404, 410, 413, 415, 422})
"""Statuses that say that what a session holds is of no use."""

_FINAL = frozenset({401, 403, 405, 411, 413, 415})
"""Statuses that another attempt would not change."""


class Hints(Protocol):
    """What is known of one blob's push beforehand, and is to be known of it afterwards."""

    async def mount_from(self) -> str:
        """A repository of the registry that may have the blob; empty if none is known."""
        ...

    async def left(self) -> str:
        """The address of the session that was left; empty if there is none."""
        ...

    async def leave(self, session: str) -> None:
        """There is a session to go on with; empty: there is none."""
        ...


class _NoHints:
    """Nothing is known, and a session that is not ended here is cancelled."""

    async def mount_from(self) -> str:
        return ""

    async def left(self) -> str:
        return ""

    async def leave(self, session: str) -> None:
        del session


NO_HINTS = _NoHints()


class BlobPush:
    """One blob on its way into ``repository`` of ``registry``; ``headers`` go with each request."""

    def __init__(
        self, registry: RemoteRegistry, repository: str, digest: Digest, content: Content,
        hints: Hints = NO_HINTS, headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:  # fmt: skip
        self._headers = headers
        self._hints = hints
        self._sent = _SENT[registry.place.role].labels(registry.place.name)
        self._registry = registry
        self._repository = repository
        self._digest = digest
        self._size = content.size
        self._source = Source(content)
        self._session: URL | None = None
        self._held = 0
        self._left = False

    @property
    def unread(self) -> Fault | None:
        """Why the content can't be read, for which the registry is not to blame."""
        return self._source.fault

    async def run(self) -> None:
        """Returns once the registry has the blob.

        Raises:
            Unavailable, NotFound: it won't. Fault: the content can't be read.

        """
        try:
            async with contextlib.aclosing(self._source):
                await self._go_on()
                await self._push()
        except Fault as fault:
            await self._stop(fault)
            raise
        await self._leave("")

    async def _leave(self, session: str) -> None:
        if session or self._left:
            await self._hints.leave(session)
        self._left = bool(session)

    async def _go_on(self) -> None:
        """With the session that was left, if the registry still has it."""
        left = URL(await self._hints.left(), encoded=True)
        home = URL(self._registry.place.address)
        # Somebody may have moved the registry since.
        if left.absolute and left.origin() == home.origin():
            self._session, self._left = left, True
            await self._measure(left)

    async def _stop(self, fault: Fault) -> None:
        """Leave the session to be gone on with, or cancel it if nobody will or it is of no use."""
        useless = fault.details.get("status") in _USELESS
        if self._session is not None and self._hints is not NO_HINTS and not useless:
            await self._leave(str(self._session))
        elif self._source.fault is not None or "status" in fault.details:
            await self._cancel()
            await self._leave("")

    async def _push(self) -> None:
        fruitless = 0
        for _ in range(RESUMES_MAX):
            before = self._held
            try:
                await self._attempt()
            except (Unavailable, NotFound) as fault:
                if self._source.fault is not None or self._final(fault):
                    raise
                log.info("push.broke", digest=self._digest.short, reason=str(fault))
                await asyncio.sleep(_pause_s(fault, fruitless))
                if await self._look(fault):
                    return
                fruitless = 0 if self._held > before else fruitless + 1
                if fruitless >= min(FRUITLESS_MAX, self._registry.place.attempts_max):
                    raise
            else:
                return
        raise Unavailable("the registry breaks off again and again", resumes=RESUMES_MAX)

    def _final(self, fault: Fault) -> bool:
        """Whether another attempt would be no better."""
        lost = isinstance(fault, NotFound) and self._session is None
        return lost or "rests_s" in fault.details or fault.details.get("status") in _FINAL

    async def _attempt(self) -> None:
        """All that is left to do."""
        if self._session is None and await self._begin():
            return
        assert self._session is not None
        while self._held < self._size:
            await self._send_on(self._session)
        await self._commit(self._session)

    async def _begin(self) -> bool:
        """Open a session; whether there is no need, since the blob could be mounted."""
        known = await self._hints.mount_from()
        if known and await self._mount(known):
            return True
        if self._session is None:
            url = self._registry.requests.url(self._repository, "blobs/uploads/")
            await self._open(url)
        if self._size >= LEFT_BYTES_MIN:
            await self._leave(str(self._session))
        return False

    async def _mount(self, known: str) -> bool:
        """Whether the registry has taken the blob from its repository ``known``.

        If not, it may have opened a session instead.
        """
        query = f"mount={self._digest}&from={quote(known, safe='')}"
        url = self._registry.requests.url(self._repository, f"blobs/uploads/?{query}")
        try:
            return await self._open(url) == MOUNTED
        except (NotFound, Unavailable) as fault:
            # The other repository may not be for us.
            if fault.details.get("status") not in _UNMOUNTABLE:
                raise
            return False

    async def _open(self, url: URL) -> int:
        """The status of the answer; of one that opens a session, learns its address."""
        async with self._registry.requests.settled(self._ask("POST", url)) as response:
            if response.status != MOUNTED:
                self._session, self._held = self._registry.requests.location(response), 0
            return response.status

    async def _send_on(self, session: URL) -> None:
        start, chunk_bytes = self._held, self._registry.place.chunk_bytes
        length = min(self._size - start, chunk_bytes or self._size)
        headers = {**self._headers, **_OCTETS, "Content-Length": str(length)}
        if length < self._size:
            # In one piece it is sent as docker and skopeo do, which all registries take.
            headers["Content-Range"] = f"{start}-{start + length - 1}"
        ask = Ask(
            method="PATCH", repository=self._repository, url=session, headers=headers,
            purpose=Purpose.PUSH, body=lambda: self._paced(start, length),
        )  # fmt: skip
        async with self._registry.requests.settled(ask) as response:
            held = self._told(response)
            # An answer of "0-0" may mean one byte, or none.
            self._held = start + length if held is None or start + length == 1 else held
        if not start < self._held <= start + length:
            raise Unavailable("the registry has not taken what it was sent", held=self._held)
        if self._left and self._session not in {None, session}:
            # Some registries keep in the address how far it came.
            await self._leave(str(self._session))

    async def _paced(self, start: int, length: int) -> AsyncIterator[bytes]:
        out = self._registry.out
        async with contextlib.aclosing(self._source.read(start, length)) as chunks:
            async for chunk in chunks:
                await keep_to(out)
                out.spend(len(chunk))
                self._sent.inc(len(chunk))
                yield chunk

    async def _commit(self, session: URL) -> None:
        joint = "&" if session.raw_query_string else "?"
        url = URL(f"{session}{joint}digest={self._digest}", encoded=True)
        idle_s = self._registry.place.timeout_s + self._size / COMMIT_BYTES_PER_S
        ask = Ask(
            method="PUT", repository=self._repository, url=url,
            headers={**self._headers, **_OCTETS}, purpose=Purpose.PUSH, idle_s=idle_s,
        )  # fmt: skip
        async with self._registry.requests.settled(ask):
            pass

    async def _look(self, fault: Fault) -> bool:
        """Learn how far it came before ``fault``; whether that is to its end."""
        if self._held == self._size and await self._is_there():
            return True
        if self._session is None:
            return False
        if fault.details.get("status") == 400:
            # What the session holds is of no use: it has another digest, say.
            await self._cancel()
            self._session, self._held = None, 0
            return False
        with contextlib.suppress(Unavailable):
            await self._measure(self._session)
        return False

    async def _measure(self, session: URL) -> None:
        """Learn how much the session holds, or that it is gone.

        Raises:
            Unavailable: the registry can't be reached, or can't tell.

        """
        try:
            async with self._registry.requests.settled(self._ask("GET", session)) as response:
                held = self._told(response)
        except (NotFound, Unavailable) as fault:
            status = fault.details.get("status")
            if not isinstance(status, int) or (status >= 500 and self._hints is not NO_HINTS):
                raise
            self._session, self._held = None, 0
        else:
            self._held = held if held is not None and held <= self._size else self._held

    async def _is_there(self) -> bool:
        try:
            await self._registry.blob_size(self._repository, self._digest)
        except (NotFound, Unavailable):
            return False
        return True

    def _told(self, response: aiohttp.ClientResponse) -> int | None:
        """How many bytes the registry says it holds; learns where to send the next ones."""
        if "Location" in response.headers:
            self._session = self._registry.requests.location(response)
        match = _HELD.fullmatch(response.headers.get("Range", ""))
        if match is None:
            return None
        last = int(match[1])
        return last + 1 if last else 0

    async def _cancel(self) -> None:
        """Best effort: a session that is left expires."""
        if self._session is None:
            return
        with contextlib.suppress(Fault, TimeoutError):
            async with (
                asyncio.timeout(CANCEL_S),
                self._registry.requests.settled(self._ask("DELETE", self._session)),
            ):
                pass

    def _ask(self, method: str, url: URL) -> Ask:
        return Ask(
            method=method, repository=self._repository, url=url, headers=self._headers,
            purpose=Purpose.PUSH,
        )  # fmt: skip


def _pause_s(fault: Fault, fruitless: int) -> float:
    asked_s = fault.details.get("pause_s", 0.0)
    own_s = min(RESUME_S * 2.0**fruitless, RESUME_S_MAX)
    return max(own_s, asked_s) if isinstance(asked_s, float) else own_s
