"""What a request shows to prove who sends it: the header ``Authorization`` (RFC 7617, RFC 6750)."""

import base64
import binascii
import re
from dataclasses import dataclass, field

from octopull.kernel.errors import Unauthenticated

HEADER_CHARS_MAX = 16 * 1024
_HEADER = re.compile(r"(?P<scheme>[A-Za-z]+) +(?P<value>[A-Za-z0-9._~+/-]+=*) *", re.ASCII)


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; printing it does not show the latter."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token; printing it does not show it."""

    token: str = field(repr=False)


def parse(header: str | None) -> Login | Bearer | None:
    """What the header shows; None if nothing, or an empty login as some clients send.

    Raises:
        Unauthenticated: it can't be understood.

    """
    if header is None:
        return None
    match = _HEADER.fullmatch(header) if len(header) <= HEADER_CHARS_MAX else None
    scheme = "" if match is None else match["scheme"].lower()
    if match is not None and scheme == "bearer":
        return Bearer(match["value"])
    if match is not None and scheme == "basic":
        return _login(match["value"])
    raise Unauthenticated("what proves who you are must be Basic or Bearer")


def _login(value: str) -> Login | None:
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise Unauthenticated("the login is no user and password")
    return Login(user, password) if user or password else None
