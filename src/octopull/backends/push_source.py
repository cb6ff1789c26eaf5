"""A content's bytes as an upload needs them: from any offset on, though it is read in order."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from octopull.backends.contract import Content
from octopull.kernel.errors import Corrupt, Fault


@runtime_checkable
class Sought(Protocol):
    """A ``Content`` that need not be read from its start."""

    def chunks_from(self, start: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` on; as ``chunks``."""
        ...


@dataclass(slots=True)
class _Reading:
    """A content read so far; ``rest`` was read and not yet given on."""

    chunks: AsyncGenerator[bytes, None]
    at: int = 0
    rest: bytes = b""


class Source:
    """A content's bytes from any offset on; ``fault`` is why reading it failed.

    Reading on from where the last reading ended costs nothing; anywhere else, what is before it
    is read again.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._kept: _Reading | None = None
        self.fault: Fault | None = None

    async def read(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` on.

        Raises:
            Fault: they can't be read. Corrupt: there are not so many.

        """
        # Nobody else goes on with what this one may leave half read.
        reading, self._kept = self._kept, None
        if reading is not None and reading.at > start:
            await reading.chunks.aclose()
            reading = None
        if reading is None:
            reading = self._begun(start)
        whole = False
        try:
            while reading.at < start + length:
                chunk = await self._next(reading, start, start + length)
                if reading.at > start:
                    yield chunk
            self._kept, whole = reading, True
        except Fault as fault:
            self.fault = fault
            raise
        finally:
            if not whole:
                await reading.chunks.aclose()

    def _begun(self, start: int) -> _Reading:
        if isinstance(self._content, Sought):
            return _Reading(self._content.chunks_from(start), start)
        return _Reading(self._content.chunks())

    async def _next(self, reading: _Reading, start: int, end: int) -> bytes:
        """The next bytes, none of them from both sides of ``start``, nor behind ``end``."""
        while not reading.rest:
            try:
                reading.rest = await anext(reading.chunks)
            except StopAsyncIteration:
                raise Corrupt("the content ends early", size=self._content.size) from None
        most = (start if reading.at < start else end) - reading.at
        chunk, reading.rest = reading.rest[:most], reading.rest[most:]
        reading.at += len(chunk)
        if reading.at == self._content.size:
            # Before the last bytes are gone, for what is behind them may be a fault.
            while not reading.rest:
                try:
                    reading.rest = await anext(reading.chunks)
                except StopAsyncIteration:
                    return chunk
            raise Corrupt("the content does not end", size=self._content.size)
        return chunk

    async def aclose(self) -> None:
        """Stop reading."""
        if self._kept is not None:
            await self._kept.chunks.aclose()
        self._kept = None
