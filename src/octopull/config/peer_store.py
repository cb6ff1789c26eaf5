"""Where several trackers keep what they know of peers, so that each knows it."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from octopull.kernel.errors import Misuse

SCHEMES = ("redis", "rediss", "unix")
TIMEOUT_S_MAX = 2.0
"""Agents wait five seconds for a tracker; the store may take a part of that only."""

_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_DATABASE = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStoreSettings:
    """A Redis or Valkey server; of a tracker alone, or of several, none is needed."""

    url: str = ""
    """``redis://host:6379/0``, ``rediss://host:6380/0`` (TLS) or ``unix:///socket?db=0``; empty: the
    tracker's own memory."""
    credentials: str = ""
    """A file with one line ``user:password`` (``default:...`` where only a password was set), read
    again at each connection; empty: none are asked for."""
    authorities: str = ""
    """A PEM file of the certificates that vouch for a ``rediss`` server; empty: the system's."""
    timeout_s: float = 0.25
    """How long an announce waits for the store, and the store may take for an answer: long beside
    the millisecond that is usual, short beside what a pull takes."""
    prefix: str = "octopull:"
    """What all keys begin with; another one for each cluster that shares the server."""

    def __post_init__(self) -> None:
        if self.url:
            _check_url(self.url)
        if not 0 < self.timeout_s <= TIMEOUT_S_MAX:
            raise Misuse(f"timeout_s lies above 0, and is {TIMEOUT_S_MAX:g} at most",
                         timeout_s=self.timeout_s)  # fmt: skip
        if _PREFIX.fullmatch(self.prefix) is None:
            raise Misuse("a prefix has 1 to 64 letters, digits and ._:-", prefix=self.prefix[:80])


def _check_url(url: str) -> None:
    """Raise Misuse for anything but a server's address; none is shown, since it may hold a secret."""
    try:
        parts = urlsplit(url)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        bad_port = parts.port == 0
    except ValueError:
        raise Misuse("the url is none") from None
    if "@" in parts.netloc or "password" in options or "username" in options:
        raise Misuse("user and password belong into the credentials file, not into the url")
    if parts.scheme not in SCHEMES or not place or bad_port or parts.fragment:
        raise Misuse("a peer store's url is redis://host:port/0, rediss://host:port/0 or "
                     "unix:///socket")  # fmt: skip
    if parts.scheme == "unix" and parts.netloc:
        raise Misuse("a socket's path is absolute: unix:///socket")
    if set(options) - {"db"}:
        raise Misuse("a peer store's url takes no option but db")
    for number in (database, options.get("db", "")):
        if number and _DATABASE.fullmatch(number) is None:
            raise Misuse("a database of Redis is a number")
