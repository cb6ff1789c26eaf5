"""A link between clusters: TCP to one address, cut and healed at will, its bytes counted."""

import asyncio
from types import TracebackType
from typing import Self

from support.relays import Relays

CHUNK_BYTES = 64 * 1024


class Link:
    """Relays to ``target`` (host:port), which may become known later, on a port of its own."""

    def __init__(self, target: str = "") -> None:
        self.target = target
        self._open = asyncio.Event()
        self._open.set()
        self._resets = False
        self._relays = Relays(self._relay)
        self.sent_bytes = 0
        """Towards the address, since the link was made."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._relays.address

    def cut(self, *, resets: bool = False) -> None:
        """Let no byte through; ``resets``: connections end, and new ones do at once."""
        self._open.clear()
        self._resets = resets
        if resets:
            self._relays.cancel()

    def heal(self) -> None:
        """Let everything through, with what was held back."""
        self._resets = False
        self._open.set()

    async def __aenter__(self) -> Self:
        await self._relays.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self._relays.__aexit__(kind, error, trace)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resets:
            return
        upper: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            host, _, port = self.target.rpartition(":")
            upper_reader, upper = await asyncio.open_connection(host, int(port))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, upper, counted=True))
                group.create_task(self._copy(upper_reader, writer, counted=False))
        except* OSError:
            pass
        finally:
            if upper is not None:
                upper.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._open.wait()
            self.sent_bytes += len(chunk) if counted else 0
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError  # Half of a connection is none.
