"""The state of every piece of one blob: missing, asked for, being proven, or had."""

from dataclasses import dataclass, field

from octopull.kernel import bitfield


@dataclass(slots=True)
class Pieces:
    """Sets of pieces as integers.

    Only of the first ``provable`` pieces the hashes are known; the others can't be asked for.

    Invariants, checked by ``validate``: a piece that is had is neither asked for nor being
    proven; a piece being proven is busy, or it would be fetched again while it is hashed,
    and stays so until its last proof is done.
    """

    count: int
    have: int
    provable: int
    proving: int = 0
    requested: int = 0
    _askers: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    _proofs: dict[int, dict[int, str]] = field(default_factory=dict[int, dict[int, str]])

    @property
    def all(self) -> int:
        """Every piece of the blob."""
        return bitfield.full(self.count)

    @property
    def complete(self) -> bool:
        """Whether every piece is had."""
        return self.have == bitfield.full(self.count)

    @property
    def missing(self) -> int:
        """Provable pieces neither had nor being proven."""
        return bitfield.full(self.provable) & ~self.have & ~self.proving

    @property
    def free(self) -> int:
        """Missing pieces that nobody is asked for."""
        return self.missing & ~self.requested

    def askers(self, piece: int) -> set[int]:
        """Connections ``piece`` is asked of."""
        return self._askers.get(piece, set())

    def ask(self, piece: int, conn: int) -> None:
        """``piece`` is asked of ``conn``."""
        self._askers.setdefault(piece, set()).add(conn)
        self.requested |= 1 << piece

    def release(self, piece: int, conn: int) -> None:
        """``piece`` is no longer asked of ``conn``; unknown pairs are ignored."""
        askers = self._askers.get(piece)
        if askers is not None:
            askers.discard(conn)
            if not askers:
                del self._askers[piece]
                self.requested &= ~(1 << piece)

    def prove(self, piece: int, conn: int, peer_id: str) -> None:
        """The body of ``piece`` came from ``peer_id`` over ``conn`` and is being hashed."""
        self._proofs.setdefault(piece, {})[conn] = peer_id
        self.proving |= 1 << piece & ~self.have

    def refused(self, piece: int, conn: int) -> str | None:
        """The body was wrong: who sent it, remembered though its connection be gone."""
        return self._proved(piece, conn)

    def verified(self, piece: int, conn: int) -> bool:
        """The body was right; False if the piece was had already."""
        self._proved(piece, conn)
        return self.acquired(piece)

    def acquired(self, piece: int) -> bool:
        """The piece came by another way than from a peer; False if it was had already."""
        fresh = not bitfield.has(self.have, piece)
        self.have |= 1 << piece
        self.proving &= ~self.have
        return fresh

    def _proved(self, piece: int, conn: int) -> str | None:
        proofs = self._proofs.get(piece, {})
        sender = proofs.pop(conn, None)
        if not proofs:
            self._proofs.pop(piece, None)
            self.proving &= ~(1 << piece)
        return sender

    def validate(self) -> None:
        """Assert the class invariants."""
        assert self.proving == bitfield.of(self._proofs) & ~self.have
        assert self.requested == bitfield.of(self._askers)
        assert (self.have | self.proving | self.requested) >> self.count == 0
