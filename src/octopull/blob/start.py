"""What a peer needs to begin with a blob: its metainfo; or, for one of a single piece, the bytes.

A blob of one piece gains nothing from a swarm: its metainfo would cost the same request as
the blob itself. So whoever is asked how to begin answers with the bytes.

    0        d      d+1      d+5
    +--------+------+--------+---------+
    | digest | kind | length | content |   and the next one behind it
    +--------+------+--------+---------+

Integers are big-endian, unsigned; the digest is packed, in ``d`` bytes (kernel/digest.py). The
content is encoded metainfo (kind 1), the blob (2), or growing metainfo (3): its origin is still
fetching it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from octopull.blob.layout import LEAF_BYTES
from octopull.blob.metainfo import Growing, Metainfo
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest

INLINE_BYTES_MAX = LEAF_BYTES
"""The longest blob that is carried whole: one piece of the shortest length."""

STARTS_MAX = 256
"""Digests in one question: more than the layers of any image."""

_HEAD = Struct(">BI")
_METAINFO, _INLINE, _GROWING = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Inline:
    """A whole blob; made by ``decode`` only if the digest matched."""

    digest: Digest
    content: bytes


Described = Metainfo | Growing
"""What a swarm can begin with."""

Start = Described | Inline


def encode(start: Start) -> bytes:
    """The bytes drawn above; those of several starts may be joined."""
    match start:
        case Inline():
            kind, content = _INLINE, start.content
        case Metainfo():
            kind, content = _METAINFO, start.encode()
        case Growing():
            kind, content = _GROWING, start.encode()
    return start.digest.pack() + _HEAD.pack(kind, len(content)) + content


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
        found.append(_proven(digest, kind, content))
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


def _proven(digest: Digest, kind: int, content: bytes) -> Start:
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
