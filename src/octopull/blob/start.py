"""What a peer needs to begin with a blob: its metainfo; or, for one of a single piece, the bytes.

A blob of one piece gains nothing from a swarm: its metainfo would cost the same request as
the blob itself. So whoever is asked how to begin answers with the bytes.

    0        d      d+1      d+5
    +--------+------+--------+---------+
    | digest | kind | length | content |   and the next one behind it
    +--------+------+--------+---------+

Integers are big-endian, unsigned; the digest is packed, in ``d`` bytes (kernel/digest.py). The
content is encoded metainfo (kind 1), the blob (2), or growing metainfo (3): its origin is still
fetching it. Kind 4 is metainfo of kind 1 or 3 behind its origin's seal (blob/seal.py), for who asks
for it so:

    +------+--------+------+---------+
    | kind | length | seal | content |    the length, in two bytes, is the seal's
    +------+--------+------+---------+
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from octopull.blob.layout import LEAF_BYTES
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.seal import SEAL_BYTES_MAX
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest

INLINE_BYTES_MAX = LEAF_BYTES
"""The longest blob that is carried whole: one piece of the shortest length."""

STARTS_MAX = 256
"""Digests in one question: more than the layers of any image."""

_HEAD = Struct(">BI")
_SEAL_HEAD = Struct(">BH")
_METAINFO, _INLINE, _GROWING, _SEALED = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Inline:
    """A whole blob; made by ``decode`` only if the digest matched."""

    digest: Digest
    content: bytes


Described = Metainfo | Growing
"""What a swarm can begin with."""

Plain = Described | Inline


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an origin says of a blob, and its encoded seal on that, which nobody has proven yet."""

    described: Described
    seal: bytes

    @property
    def digest(self) -> Digest:
        """The blob's."""
        return self.described.digest


Start = Plain | Sealed


def plain(start: Start) -> Plain:
    """Without its seal."""
    return start.described if isinstance(start, Sealed) else start


def encode(start: Start) -> bytes:
    """The bytes drawn above; those of several starts may be joined."""
    kind, content = _content(plain(start))
    if isinstance(start, Sealed):
        content = _SEAL_HEAD.pack(kind, len(start.seal)) + start.seal + content
        kind = _SEALED
    return start.digest.pack() + _HEAD.pack(kind, len(content)) + content


def unsealed(encoded: bytes) -> bytes:
    """An encoded start without its seal, if it has one."""
    _, at = Digest.unpack(encoded, 0)
    kind, length = _HEAD.unpack_from(encoded, at)
    if kind != _SEALED:
        return encoded
    kind, seal_length = _SEAL_HEAD.unpack_from(encoded, at + _HEAD.size)
    before = _SEAL_HEAD.size + seal_length
    return encoded[:at] + _HEAD.pack(kind, length - before) + encoded[at + _HEAD.size + before :]


def _content(start: Plain) -> tuple[int, bytes]:
    match start:
        case Inline():
            return _INLINE, start.content
        case Metainfo():
            return _METAINFO, start.encode()
        case Growing():
            return _GROWING, start.encode()


def decode(encoded: bytes) -> list[Start]:
    """Every start in ``encoded``, proven as far as it can be.

    Raises:
        Corrupt: cut short, of an unknown kind, or not what its digest says.

    """
    found: list[Start] = []
    at = 0
    while at < len(encoded):
        try:
            digest, at = Digest.unpack(encoded, at)
        except InvalidDigest as error:
            raise Corrupt("a start has no digest", at=at) from error
        if len(encoded) - at < _HEAD.size:
            raise Corrupt("a start is cut short", at=at)
        kind, length = _HEAD.unpack_from(encoded, at)
        at += _HEAD.size
        content = encoded[at : at + length]
        if len(content) != length:
            raise Corrupt("a start is cut short", at=at, length=length)
        found.append(
            _sealed(digest, content) if kind == _SEALED else _proven(digest, kind, content)
        )
        at += length
    return found


def join(starts: Iterable[bytes], bytes_max: int) -> bytes:
    """Encoded starts behind each other, leaving out what would go beyond ``bytes_max``."""
    chosen, size = [], 0
    for one in starts:
        if size + len(one) <= bytes_max:
            chosen.append(one)
            size += len(one)
    return b"".join(chosen)


def _sealed(digest: Digest, content: bytes) -> Sealed:
    if len(content) < _SEAL_HEAD.size:
        raise Corrupt("a sealed start is cut short", length=len(content))
    kind, length = _SEAL_HEAD.unpack_from(content)
    end = _SEAL_HEAD.size + length
    if kind not in {_METAINFO, _GROWING} or length > SEAL_BYTES_MAX or end > len(content):
        raise Corrupt("a seal on nothing that is sealed", kind=kind, length=length)
    described = _proven(digest, kind, content[end:])
    assert not isinstance(described, Inline)
    return Sealed(described, content[_SEAL_HEAD.size : end])


def _proven(digest: Digest, kind: int, content: bytes) -> Plain:
    if kind in {_METAINFO, _GROWING}:
        described = (Metainfo if kind == _METAINFO else Growing).decode(content)
        if described.digest != digest:
            raise Corrupt("metainfo of another blob", digest=str(digest))
        return described
    if kind != _INLINE or len(content) > INLINE_BYTES_MAX:
        raise Corrupt("a start of no known kind", kind=kind, length=len(content))
    if not digest.proves(content):
        raise Corrupt("the bytes have another digest", digest=str(digest))
    return Inline(digest, content)
