"""Content digests: ``sha256:`` and 64 lower-case hexadecimal characters."""

import re
from dataclasses import dataclass
from hashlib import sha256

from octopull.kernel.errors import InvalidDigest

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The SHA-256 of a blob, as 64 lower-case hexadecimal characters.

    Only ``parse`` and ``of`` make one from outside data, so a ``Digest`` in hand
    is always well formed and safe as a file name.
    """

    hex: str

    def __post_init__(self) -> None:
        if _PATTERN.fullmatch(f"sha256:{self.hex}") is None:
            raise InvalidDigest("not a SHA-256 digest", hex=self.hex[:80])

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read ``sha256:<64 hex>``.

        Raises:
            InvalidDigest: anything else, other algorithms included.

        """
        if _PATTERN.fullmatch(text) is None:
            raise InvalidDigest("not a SHA-256 digest", digest=text[:80])
        return cls(text[len("sha256:") :])

    @classmethod
    def of(cls, content: bytes) -> "Digest":
        """The digest of ``content``."""
        return cls(sha256(content).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve characters, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
