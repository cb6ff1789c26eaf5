"""A blob that comes from a backend, given on while it comes: to peers, and to who reads it.

Its pieces come in order. Where the backend kept its metainfo, each is proven as it comes.
Otherwise its hash is told to agents as it comes, and the digest at the end decides: until then
the last piece is withheld, so that nobody ever has a whole wrong blob.
"""

import asyncio
from collections.abc import Sequence

from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.outline import Outline
from octopull.blob.start import Described
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault
from octopull.storage.blob_file import BlobFile
from octopull.transport.seeds import GrowingSeed


class Arrival:
    """The pieces of one blob that are here. Calls come from the loop's thread.

    Invariant: pieces are here from the first on without a gap, and the last one only if the
    digest of the whole matched.
    """

    def __init__(self, outline: Outline, stored: Metainfo | None, seed: GrowingSeed) -> None:
        self._outline = outline
        self._stored = stored
        self._seed = seed
        self._hashes: list[bytes] = []
        self._news: asyncio.Event = asyncio.Event()
        self._fault: Fault | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        return self._outline.layout.size

    @property
    def fd(self) -> int:
        """The file with the bytes; open as long as the blob is arriving or seeded."""
        return self._seed.fd

    @property
    def digest(self) -> Digest:
        """The blob's."""
        return self._outline.digest

    @property
    def piece_length(self) -> int:
        """Bytes of all pieces but the last."""
        return self._outline.layout.piece_length

    @property
    def was_described(self) -> bool:
        """Whether the backend kept its metainfo."""
        return self._stored is not None

    @property
    def pieces(self) -> int:
        """How many pieces are here."""
        return len(self._hashes)

    async def proven(self, offset: int) -> int:
        """Wait until byte ``offset`` is here; return the end of what is.

        Raises:
            Fault: it will not come.

        """
        layout = self._outline.layout
        while layout.prefix_bytes(self.pieces) <= offset:
            if self._fault is not None:
                raise self._fault
            news = self._news
            await news.wait()
        return layout.prefix_bytes(self.pieces)

    def growing(self, first: int) -> Growing:
        """Hashes of the pieces from ``first`` on, as far as they are known."""
        hashes = self._hashes if self._stored is None else self._stored.piece_hashes
        first = min(first, len(hashes))
        return Growing(self._outline, first, tuple(hashes[first:]))

    def described(self) -> Described:
        """What a swarm can begin with."""
        return self.growing(0) if self._stored is None else self._stored

    # What came.

    def came(self, hashes: Sequence[bytes]) -> None:
        """The next pieces are written; but for the last one of the blob, they are here.

        Raises:
            Corrupt: the backend's metainfo says otherwise.

        """
        count = self._outline.layout.count
        for digest in hashes:
            piece = self.pieces
            if self._stored is not None and self._stored.piece_hashes[piece] != digest:
                raise Corrupt("a piece is not what its stored metainfo says", piece=piece)
            if piece < count - 1:
                self._add(digest)

    def proved(self, hashes: Sequence[bytes]) -> None:
        """The digest of the whole matched; ``hashes`` are those of all pieces.

        Raises:
            Corrupt: as ``came``.

        """
        self.came(hashes[self.pieces :])
        for digest in hashes[self.pieces :]:
            self._add(digest)

    def kept(self, blob: BlobFile) -> None:
        """The blob is in the store."""
        self._seed.keep(blob)

    def failed(self, fault: Fault) -> None:
        """The rest will not come."""
        self._fault = fault
        self._tell()
        self._seed.drop()

    def _add(self, digest: bytes) -> None:
        self._hashes.append(digest)
        self._seed.acquired(self.pieces - 1)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
