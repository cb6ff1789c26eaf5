"""Messages to bytes and back.

    0        4      5
    +--------+------+--------------------------------------------------+
    | length | kind | fields                                           |
    +--------+------+--------------------------------------------------+

``length`` counts everything after itself. Integers are big-endian, unsigned. Fields: a
piece is four bytes; PieceHead adds a length of four bytes and a count of two, and that many raw
bytes follow the frame; Haves is a first piece, a multiple of eight, and a bitfield from there
on; Goodbye is its reason in ASCII. Handshake:

    +-----------+---------+-----------+----------+------+---------+------+------+--------+
    | protocol  | version | info hash | digest   | id   | port    | kind | text | packed |
    | 8 bytes   | 1       | 32        | 34 or 66 | 20   | 2       | 1    | 3 x  | rest   |
    +-----------+---------+-----------+----------+------+---------+------+------+--------+

where digest is packed as in kernel/digest.py, and text is namespace, host and zone, each a
length of two bytes and UTF-8.
"""

import struct
from collections.abc import Iterator
from struct import Struct

from octopull.kernel import bitfield, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, PeerFault
from octopull.kernel.peers import Peer, PeerKind
from octopull.swarm.limits import FRAME_BYTES_MAX
from octopull.swarm.messages import (
    Cancel,
    Goodbye,
    Handshake,
    Have,
    Haves,
    Hungry,
    Lacks,
    Message,
    PieceHead,
    Reason,
    Reject,
    Request,
    Sated,
    Wanted,
)  # fmt: skip

LENGTH = Struct(">I")
_PIECE = Struct(">I")
_HEAD = Struct(">IIH")
_SHORT = Struct(">H")
_SWARM = Struct(">8sB32s")
_SPEAKER = Struct(">20sHB")
PROTOCOL = b"octopull"
VERSION = 5

WAITING_MAX = (1 << 16) - 1
"""The most that a ``PieceHead`` can say is waiting."""

PIECES_MAX = FRAME_BYTES_MAX * 8
"""No swarm has more pieces: a handshake could not tell who holds them."""

_HANDSHAKE_KIND, _HEAD_KIND, _GOODBYE_KIND, _HAVES_KIND = 0, 5, 6, 7
_HUNGRY_KIND, _SATED_KIND = 8, 9
_PLAIN: dict[int, type[Have | Request | Cancel | Reject | Wanted | Lacks]] = {
    1: Have, 2: Request, 3: Cancel, 4: Reject, 10: Wanted, 11: Lacks,
}  # fmt: skip
_PLAIN_KINDS = {kind: number for number, kind in _PLAIN.items()}
_PEER_KINDS = (PeerKind.AGENT, PeerKind.ORIGIN)


def encode(message: Message) -> bytes:
    """The whole frame of ``message``."""
    match message:
        case PieceHead(piece, length, waiting):
            body = bytes([_HEAD_KIND]) + _HEAD.pack(piece, length, min(waiting, WAITING_MAX))
        case Haves(pieces):
            body = bytes([_HAVES_KIND]) + _encode_haves(pieces)
        case Hungry():
            body = bytes([_HUNGRY_KIND])
        case Sated():
            body = bytes([_SATED_KIND])
        case Goodbye(reason):
            body = bytes([_GOODBYE_KIND]) + reason.value.encode()
        case Handshake():
            body = bytes([_HANDSHAKE_KIND]) + _encode_handshake(message)
        case _:
            body = bytes([_PLAIN_KINDS[type(message)]]) + _PIECE.pack(message.piece)
    return LENGTH.pack(len(body)) + body


def _encode_haves(pieces: int) -> bytes:
    first = bitfield.first(pieces) & ~7
    bits = pieces >> first
    return _PIECE.pack(first) + bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _encode_handshake(message: Handshake) -> bytes:
    peer = message.peer
    swarm = _SWARM.pack(PROTOCOL, VERSION, message.info_hash) + message.digest.pack()
    speaker = _SPEAKER.pack(bytes.fromhex(peer.id), peer.port, _PEER_KINDS.index(peer.kind))
    encoded = (text.encode() for text in (message.namespace, peer.host, peer.zone))
    texts = b"".join(_SHORT.pack(len(text)) + text for text in encoded)
    return swarm + speaker + texts + message.packed


class Decoder:
    """Turns arbitrary slices of a byte stream into whole messages.

    Args:
        frame_bytes_max: largest frame accepted. A larger one is refused on its
            length alone, so at most one frame and one slice are held.

    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """Add ``data`` and yield each message it completes, lazily.

        After a ``PieceHead`` stop asking: what follows is a body, had by ``drain``.

        Raises:
            PeerFault: a frame that is too long, too short, or makes no sense.

        """
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer)
            if not 1 <= size <= self._frame_bytes_max:
                raise PeerFault("frame size out of bounds", size=size)
            end = LENGTH.size + size
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield _parse(frame)

    def drain(self) -> bytes:
        """Hand over, and forget, everything behind the last message."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _parse(frame: bytes) -> Message:
    kind, fields = frame[0], frame[1:]
    if kind in _PLAIN and len(fields) == _PIECE.size:
        return _PLAIN[kind](_PIECE.unpack(fields)[0])
    if kind == _HEAD_KIND and len(fields) == _HEAD.size:
        return PieceHead(*_HEAD.unpack(fields))
    if kind == _HAVES_KIND and len(fields) > _PIECE.size:
        return _parse_haves(fields)
    if kind in {_HUNGRY_KIND, _SATED_KIND} and not fields:
        return Hungry() if kind == _HUNGRY_KIND else Sated()
    if kind == _GOODBYE_KIND:
        try:
            return Goodbye(Reason(fields.decode("ascii")))
        except ValueError as error:
            raise PeerFault("goodbye without a known reason") from error
    if kind == _HANDSHAKE_KIND:
        return _parse_handshake(fields)
    raise PeerFault("malformed frame", kind=kind, size=len(frame))


def _parse_haves(fields: bytes) -> Haves:
    (first,) = _PIECE.unpack_from(fields)
    bits = int.from_bytes(fields[_PIECE.size :], "little")
    if first % 8 or first >= PIECES_MAX or not bits:
        raise PeerFault("a set of pieces that makes no sense", first=first)
    return Haves(bits << first)


def _parse_handshake(fields: bytes) -> Handshake:
    try:
        protocol, version, info_hash = _SWARM.unpack_from(fields)
        if (protocol, version) != (PROTOCOL, VERSION):
            raise PeerFault("another protocol or version", version=version)
        digest, at = Digest.unpack(fields, _SWARM.size)
        peer_id, port, kind = _SPEAKER.unpack_from(fields, at)
        if kind >= len(_PEER_KINDS):
            raise PeerFault("unknown kind of peer", kind=kind)
        (namespace, host, zone), packed = _parse_texts(fields[at + _SPEAKER.size :], 3)
        peer = Peer(id=peer_id.hex(), host=host, port=port, kind=_PEER_KINDS[kind], zone=zone)
        return Handshake(info_hash, digest, names.namespace(namespace), peer, packed)
    except (UnicodeDecodeError, struct.error, Misuse) as error:
        raise PeerFault(f"handshake makes no sense: {error}") from error


def _parse_texts(fields: bytes, count: int) -> tuple[list[str], bytes]:
    """The first ``count`` texts, and what is behind them."""
    texts: list[str] = []
    for _ in range(count):
        (length,) = _SHORT.unpack_from(fields)
        end = _SHORT.size + length
        if len(fields) < end:
            raise PeerFault("handshake is cut short", missing=end - len(fields))
        texts.append(fields[_SHORT.size : end].decode())
        fields = fields[end:]
    return texts, fields
