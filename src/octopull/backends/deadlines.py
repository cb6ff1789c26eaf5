"""Deadlines, repeats and hedged reads around any store of objects.

Bodies have no deadline in all, only for their next bytes: a put goes on as long as the store takes
some, and then has up to ``LAST_WORDS`` deadlines for its end. Repeated is what is safe: reads,
which go on where they broke; listing; deleting; and putting, since a put stores all or nothing.
``put_if`` is tried once: if its outcome is unknown, reading tells whether it was ours.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from octopull.backends.circuit import Circuit, asked_s
from octopull.backends.contract import Content, Feature, Objects, Span, Stat
from octopull.backends.hedging import quickest
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import Changed, Corrupt, Fault, NotFound, Unavailable
from octopull.observability import logs

T = TypeVar("T")
log = logs.get("backend")
PAUSE_S = 0.2
PAUSE_S_MAX = 5.0
"""First and longest pause before a repeat; it doubles. Who asks for a longer one is not asked
again within the call."""

LAST_WORDS = 10
LAST_WORDS_BYTES = 8 * 1024 * 1024
"""How many times longer than other answers the end of a put may take at most: a store joins its
parts, and its client holds some of them. One time more for each ``LAST_WORDS_BYTES``."""

PROGRESS_BYTES = 64 * 1024
"""What one connection must bring, or the end, to be no failed attempt."""


class Deadlines:
    """``objects`` with patience that ends."""

    def __init__(self, objects: Objects, settings: BackendSettings) -> None:
        self._objects = objects
        self._settings = settings
        self._circuit = Circuit()

    @property
    def features(self) -> frozenset[Feature]:
        """Those of the store."""
        return self._objects.features

    async def stat(self, key: str) -> Stat:
        """As the store's."""
        return await self._repeated(lambda: self._objects.stat(key))

    async def delete(self, key: str) -> None:
        """As the store's."""
        await self._repeated(lambda: self._objects.delete(key))

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        """As the store's."""
        return await self._repeated(lambda: self._objects.list(prefix, after, count))

    async def put(self, key: str, content: Content) -> None:
        """As the store's; begun anew if it fails."""
        try:
            await self._tries(lambda: self._put(key, content))
        except _ContentFailedError as error:
            raise error.fault from error

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """As the store's. If the outcome is unknown and stays so, Unavailable."""

        async def once() -> str:
            try:
                return await self._timed(self._objects.put_if(key, content, expected))
            except Unavailable as fault:
                found = await self._timed(self._ours(key, content))
                if found is None:
                    raise
                log.info("put_if.was_ours", key=key, reason=str(fault))
                return found

        return await self._guarded(once)

    async def _ours(self, key: str, content: bytes) -> str | None:
        """The object's version, if ``content`` is what it holds."""
        try:
            before = await self._objects.stat(key)
            if before.size != len(content):
                return None
            async with aclosing(self._objects.get(key)) as chunks:
                found = b"".join([chunk async for chunk in chunks])
            after = await self._objects.stat(key)
        except NotFound:
            return None
        return after.version if found == content and before == after else None

    # Calls.

    async def _repeated(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._tries(lambda: self._timed(call()))

    async def _tries(self, call: Callable[[], Awaitable[T]]) -> T:
        async def tries() -> T:
            for attempt in range(1, self._settings.attempts_max):
                try:
                    return await call()
                except Unavailable as fault:
                    pause_s = _pause_s(attempt, fault)
                    if pause_s is None:
                        raise
                    log.info("backend.repeats", backend=self._settings.label, attempt=attempt,
                             reason=str(fault))  # fmt: skip
                await asyncio.sleep(pause_s)
            return await call()

        return await self._guarded(tries)

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T:
        self._circuit.check()
        try:
            found = await call()
        except Unavailable as fault:
            self._circuit.failed(fault)
            raise
        except (NotFound, Changed):
            self._circuit.worked()
            raise
        self._circuit.worked()
        return found

    async def _timed(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await answer
        except TimeoutError as error:
            raise self._silent() from error

    def _silent(self) -> Unavailable:
        timeout_s = self._settings.timeout_s
        return Unavailable(f"{self._settings.label} does not answer within {timeout_s:g} s")

    async def _put(self, key: str, content: Content) -> None:
        """One attempt, which goes on as long as bytes are taken.

        Raises:
            _ContentFailedError: the store is not to blame.

        """
        taken = _Taken(content, time.monotonic())
        work = asyncio.ensure_future(self._objects.put(key, taken))
        try:
            while not work.done():
                patience_s = self._settings.timeout_s * taken.deadlines
                silent_s = 0.0 if taken.waits else time.monotonic() - taken.at_s
                if silent_s >= patience_s:
                    raise self._silent()
                await asyncio.wait([work], timeout=patience_s - silent_s)
            work.result()
        except Fault as fault:
            if taken.failure is not None:
                raise _ContentFailedError(taken.failure) from fault
            raise
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    # Reading.

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """As the store's; goes on where it broke."""
        self._circuit.check()
        start = 0 if span is None else span.start
        end = None if span is None else span.start + span.length
        at, fruitless = start, 0
        while True:
            before = at
            try:
                rest = None if end is None else Span(at, end - at)
                async with aclosing(self._attempt(key, rest)) as chunks:
                    async for chunk in chunks:
                        self._circuit.worked()
                        at += len(chunk)
                        yield chunk
            except Unavailable as fault:
                fruitless = 1 if at - before >= PROGRESS_BYTES else fruitless + 1
                pause_s = _pause_s(fruitless, fault)
                if pause_s is None or fruitless >= self._settings.attempts_max:
                    self._circuit.failed(fault)
                    raise
                log.info("get.broke", backend=self._settings.label, at=at, reason=str(fault))
            except NotFound:
                self._circuit.worked()
                raise
            else:
                self._circuit.worked()
                return
            await asyncio.sleep(pause_s)
            if end is None and at > start:
                end = (await self.stat(key)).size
                if end < at:
                    raise Corrupt("an object became shorter while it was read", key=key)

    async def _attempt(self, key: str, span: Span | None) -> AsyncGenerator[bytes, None]:
        """What one connection brings."""
        if span is not None and not span.length:
            return
        body, chunk = await quickest(
            lambda: self._objects.get(key, span), self._next, self._settings.hedge_s
        )
        missing = None if span is None else span.length
        async with aclosing(body):
            while chunk is not None:
                if missing is not None:
                    missing -= len(chunk)
                    if missing < 0:
                        raise Corrupt("the store sends more than was asked for", key=key)
                yield chunk
                chunk = await self._next(body)
        if missing:
            raise Unavailable("the store sends less than was asked for", missing_bytes=missing)

    async def _next(self, body: AsyncGenerator[bytes, None]) -> bytes | None:
        return await self._timed(anext(body, None))


@dataclass(slots=True)
class _Taken:
    """A content that knows when bytes were taken of it last (seconds, monotonic)."""

    content: Content
    at_s: float
    waits: bool = False
    """The store has asked for bytes, and the content has not given them yet."""
    all: bool = False
    failure: Fault | None = None

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def deadlines(self) -> float:
        """How many the store now has."""
        return min(LAST_WORDS, 1 + self.size / LAST_WORDS_BYTES) if self.all else 1.0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        self.all = False
        async with aclosing(self.content.chunks()) as chunks:
            while (chunk := await self._next(chunks)) is not None:
                yield chunk
        self.all = True

    async def _next(self, chunks: AsyncGenerator[bytes, None]) -> bytes | None:
        self.waits = True
        try:
            return await anext(chunks, None)
        except Fault as fault:
            self.failure = fault
            raise
        finally:
            self.waits, self.at_s = False, time.monotonic()


class _ContentFailedError(Exception):
    """What was to be put can't be read; no store does better for being asked again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _pause_s(attempt: int, fault: Unavailable) -> float | None:
    """How long to wait after so many attempts; None if that would be too long."""
    if (rest_s := asked_s(fault)) > PAUSE_S_MAX:
        return None
    pause_s = min(PAUSE_S * 2.0 ** (attempt - 1), PAUSE_S_MAX) * random.uniform(0.5, 1.0)
    return max(pause_s, rest_s)
