"""Public keys that prove tokens: a JSON Web Key Set (RFC 7517), or PEM.

Secrets that two sides share are no such keys, whatever a set says.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from octopull.kernel.errors import Misuse

KEYS_MAX = 100
SET_BYTES_MAX = 256 * 1024
_KINDS = frozenset({"RSA", "EC", "OKP"})
_PEM = re.compile(
    rb"-----BEGIN (?P<what>[A-Z ]{1,40})-----[A-Za-z0-9+/=\s]{1,65536}-----END (?P=what)-----"
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key; ``id`` is what tokens call it by, empty if it has no name."""

    id: str
    public: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one signer."""

    keys: tuple[Key, ...]

    def named(self, key_id: str) -> list[Key]:
        """Those that may have signed what says it is signed by ``key_id``."""
        same = [key for key in self.keys if key.id and key.id == key_id]
        return same or [key for key in self.keys if not (key.id and key_id)]


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse(content: bytes) -> KeySet:
    """The keys of a file: PEM, or a set in JSON.

    Raises:
        Misuse: it holds none that can be used, or it is neither.

    """
    if len(content) > SET_BYTES_MAX:
        raise Misuse("a set of keys is not so long", bytes_max=SET_BYTES_MAX)
    found = _of_json(content) if content.lstrip().startswith(b"{") else _of_pem(content)
    if not 0 < len(found) <= KEYS_MAX:
        raise Misuse("no public keys, or too many", most=KEYS_MAX)
    return KeySet(tuple(found))


def _of_json(content: bytes) -> list[Key]:
    import jwt

    try:
        listed = msgspec.json.decode(content, type=_Set).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misuse("no JSON Web Key Set") from error
    found = []
    for one in listed[: KEYS_MAX + 1]:
        if one.get("kty") not in _KINDS or one.get("use", "sig") != "sig" or "d" in one:
            continue
        try:
            public = jwt.PyJWK(one).key
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
            continue  # Of a kind that we don't know, or broken: others may be whole.
        key_id = one.get("kid", "")
        found.append(Key(key_id if isinstance(key_id, str) else "", public))
    return found


def _of_pem(content: bytes) -> list[Key]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509 import load_pem_x509_certificate

    found = []
    for match in _PEM.finditer(content):
        try:
            if match["what"] == b"CERTIFICATE":
                public: Any = load_pem_x509_certificate(match[0]).public_key()
            elif match["what"] == b"PUBLIC KEY":
                public = serialization.load_pem_public_key(match[0])
            else:
                continue
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Misuse("a PEM block can't be read") from error
        found.append(Key(key_id(public), public))
    return found


def key_id(public: Any) -> str:
    """A key's name, which follows from it alone."""
    from cryptography.hazmat.primitives import serialization

    encoded = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).decode().rstrip("=")
