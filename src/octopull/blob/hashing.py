"""Piece hashes: BLAKE3 over the BLAKE3 of a piece's leaves.

A blob's piece length follows from its size, which a streaming push does not tell
before its end. So a pass over the bytes makes one hash per leaf of 256 KiB, and a
piece's hash is the hash of its leaf hashes: any piece length can be had from one pass.
"""

from collections.abc import Sequence

from blake3 import blake3

from octopull.blob.layout import LEAF_BYTES

HASH_BYTES = 32


def hash_piece(content: bytes | bytearray | memoryview) -> bytes:
    """The hash of a whole piece; ``content`` is only read. Releases the GIL on long leaves."""
    view = memoryview(content)
    leaves = [
        blake3(view[start : start + LEAF_BYTES]).digest()
        for start in range(0, len(view), LEAF_BYTES)
    ]
    return _root(leaves)


def _root(leaves: Sequence[bytes]) -> bytes:
    return leaves[0] if len(leaves) == 1 else blake3(b"".join(leaves)).digest()


class LeafHasher:
    """Leaf hashes of a blob that arrives in slices of any length.

    Invariant: ``len(leaves) * LEAF_BYTES`` and the open leaf's bytes are all that was fed.
    """

    __slots__ = ("_leaves", "_open", "_open_bytes")

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._open = blake3()
        self._open_bytes = 0

    def update(self, content: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the blob."""
        view = memoryview(content)
        while view:
            part = view[: LEAF_BYTES - self._open_bytes]
            self._open.update(part)
            self._open_bytes += len(part)
            if self._open_bytes == LEAF_BYTES:
                self._leaves.append(self._open.digest())
                self._open, self._open_bytes = blake3(), 0
            view = view[len(part) :]

    def whole_pieces(self, piece_length: int, first: int) -> list[bytes]:
        """Hashes of the pieces from ``first`` on whose every byte was fed; not of a short last."""
        step = piece_length // LEAF_BYTES
        last = len(self._leaves) // step
        return [_root(self._leaves[one * step : (one + 1) * step]) for one in range(first, last)]

    def piece_hashes(self, piece_length: int) -> tuple[bytes, ...]:
        """Hashes of all pieces of the bytes fed so far; may be asked more than once."""
        leaves = [*self._leaves, self._open.digest()] if self._open_bytes else self._leaves
        step = piece_length // LEAF_BYTES
        return tuple(_root(leaves[i : i + step]) for i in range(0, len(leaves), step))
