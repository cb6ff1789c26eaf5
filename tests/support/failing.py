"""A store that fails when it is told to: before, in the middle of, or after a call."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from octopull.backends.contract import Content, Feature, Objects, Span, Stat
from octopull.kernel.errors import Fault, Unavailable


def down() -> Fault:
    return Unavailable("told to fail")


@dataclass
class Failing:
    """``objects``, of whose calls the next ``before`` fail at once, and the next ``after`` once they
    have done their work.

    Bodies break after ``cut_bytes`` as often as ``cuts`` says. What ``hangs`` answers never.
    """

    objects: Objects
    before: int = 0
    after: int = 0
    cuts: int = 0
    cut_bytes: int = 0
    hangs: bool = False
    fault: Callable[[], Fault] = down
    asked: list[str] = field(default_factory=list[str])
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def features(self) -> frozenset[Feature]:
        return self.objects.features

    async def _begin(self, call: str) -> None:
        self.asked.append(call)
        self.reached.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.before:
            self.before -= 1
            raise self.fault()

    def _end(self) -> None:
        if self.after:
            self.after -= 1
            raise self.fault()

    async def stat(self, key: str) -> Stat:
        await self._begin("stat")
        found = await self.objects.stat(key)
        self._end()
        return found

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        await self._begin(f"get {span.start}-{span.start + span.length}" if span else "get")
        sent = 0
        async with aclosing(self.objects.get(key, span)) as chunks:
            async for chunk in chunks:
                if self.cuts and sent + len(chunk) > self.cut_bytes:
                    self.cuts -= 1
                    yield chunk[: self.cut_bytes - sent]
                    raise self.fault()
                sent += len(chunk)
                yield chunk

    async def put(self, key: str, content: Content) -> None:
        await self._begin("put")
        await self.objects.put(key, content)
        self._end()

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        await self._begin("put_if")
        version = await self.objects.put_if(key, content, expected)
        self._end()
        return version

    async def delete(self, key: str) -> None:
        await self._begin("delete")
        await self.objects.delete(key)
        self._end()

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        await self._begin("list")
        found = await self.objects.list(prefix, after, count)
        self._end()
        return found
