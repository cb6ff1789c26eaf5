"""Bytes to be stored, as tests have them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from octopull.backends.contract import CHUNK_BYTES_MAX
from octopull.kernel.errors import Fault


@dataclass(frozen=True)
class Bytes:
    """A ``Content`` that says ``told`` of its size if that is given, and may fail at its end."""

    content: bytes
    told: int | None = None
    failure: Fault | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.content) if self.told is None else self.told

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of them."""
        for start in range(0, len(self.content), CHUNK_BYTES_MAX):
            yield self.content[start : start + CHUNK_BYTES_MAX]
        if self.failure is not None:
            raise self.failure


async def joined(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """All of them at once."""
    return b"".join([chunk async for chunk in chunks])
