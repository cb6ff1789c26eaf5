"""A front that breaks a connection: TCP to a registry, reset once so many bytes went up."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from support.relays import Relays

CHUNK_BYTES = 16 * 1024
RESET = struct.pack("ii", 1, 0)


class Cutting:
    """Relays to ``address`` (host:port) on a port of its own.

    The connection that brings the ``after_bytes``-th byte of all is reset on both sides, as if the
    network had died; others, and all that come later, are left alone. ``first`` may hold the
    reset back until something has come of the bytes before.
    """

    def __init__(
        self, address: str, after_bytes: int, first: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._left_bytes = after_bytes
        self._first = first
        self.cut = False
        self._relays = Relays(self._relay)

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._relays.address

    async def __aenter__(self) -> Self:
        await self._relays.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self._relays.__aexit__(kind, error, trace)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upper_reader, upper_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return
        down = asyncio.get_running_loop().create_task(_copy(upper_reader, writer))
        try:
            await self._up(reader, writer, upper_writer)
            await down
        except (ConnectionError, OSError):
            pass
        finally:
            # Before anything is waited for: we may be cancelled then.
            upper_writer.transport.abort()
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        upper: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        while chunk := await reader.read(CHUNK_BYTES):
            self._left_bytes -= len(chunk)
            if self._left_bytes <= 0 and not self.cut:
                self.cut = True
                if self._first is not None:
                    await self._first()
                for one in (writer, upper):
                    _reset(one)
                raise ConnectionResetError
            upper.write(chunk)
            await upper.drain()
        upper.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    plain: socket.socket = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
