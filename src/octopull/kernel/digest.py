"""Content digests: an algorithm's name, a colon, and lower-case hexadecimal characters.

The algorithms are those registered by the OCI image-spec 1.1 ("Digests"). Binary formats carry
a digest as a multihash (draft-multiformats-multihash): code, length of the hash, hash.

    0      1        2
    +------+--------+-----------------+
    | code | length | 32 or 64 bytes  |   codes: 18 is SHA-256, 19 is SHA-512
    +------+--------+-----------------+
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from octopull.kernel.errors import InvalidDigest


class Algorithm(StrEnum):
    """What a digest is computed by: its name, the bytes of a hash, its code, and how to begin."""

    SHA256 = "sha256", 32, 0x12, hashlib.sha256
    SHA512 = "sha512", 64, 0x13, hashlib.sha512

    hash_bytes: int
    code: int
    hasher: "Callable[..., hashlib._Hash]"

    def __new__(
        cls, name: str, hash_bytes: int, code: int, hasher: "Callable[..., hashlib._Hash]"
    ) -> Self:
        # Plain attributes: properties of an Enum are slow, and digests are made often.
        one = str.__new__(cls, name)
        one._value_ = name
        one.hash_bytes, one.code, one.hasher = hash_bytes, code, hasher
        return one


_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}
_CODES = {algorithm.code: algorithm for algorithm in Algorithm}
_SHA256 = Algorithm.SHA256
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The hash of a blob, as lower-case hexadecimal characters: 64 of SHA-256, 128 of SHA-512.

    A ``Digest`` in hand is always well formed and safe as a file name.
    """

    hex: str
    # Left out of hash(), which runs often: the length of ``hex`` tells algorithms apart.
    algorithm: Algorithm = field(default=_SHA256, hash=False)

    def __post_init__(self) -> None:
        length = 2 * self.algorithm.hash_bytes
        if len(self.hex) != length or _HEX.fullmatch(self.hex) is None:
            raise InvalidDigest(
                f"{self.algorithm} needs {length} lower-case hexadecimal characters",
                hex=self.hex[:80],
            )

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read ``<algorithm>:<hex>``.

        Raises:
            InvalidDigest: anything else; the message names the algorithms there are.

        """
        name, _, hexadecimal = text.partition(":")
        algorithm = _ALGORITHMS.get(name)
        if algorithm is None:
            known = " or ".join(_ALGORITHMS)
            raise InvalidDigest(f"a digest begins with {known} and a colon", digest=text[:80])
        return cls(hexadecimal, algorithm)

    @classmethod
    def of(cls, content: bytes, algorithm: Algorithm = _SHA256) -> "Digest":
        """The digest of ``content``."""
        return cls(algorithm.hasher(content).hexdigest(), algorithm)

    @classmethod
    def unpack(cls, packed: bytes, at: int) -> tuple["Digest", int]:
        """The multihash at ``packed[at:]``, and where it ends.

        Raises:
            InvalidDigest: cut short, or of no known algorithm.

        """
        head = packed[at : at + 2]
        algorithm = _CODES.get(head[0]) if len(head) == 2 else None
        if algorithm is None or head[1] != algorithm.hash_bytes:
            raise InvalidDigest("not a digest of a known algorithm", head=head.hex())
        end = at + 2 + algorithm.hash_bytes
        return cls(packed[at + 2 : end].hex(), algorithm), end

    def pack(self) -> bytes:
        """The multihash drawn above."""
        head = bytes((self.algorithm.code, self.algorithm.hash_bytes))
        return head + bytes.fromhex(self.hex)

    def proves(self, content: bytes) -> bool:
        """Whether it is the digest of ``content``."""
        return self.algorithm.hasher(content).hexdigest() == self.hex

    @property
    def short(self) -> str:
        """The first twelve characters, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.algorithm + ":" + self.hex
