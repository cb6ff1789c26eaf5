"""Tokens that live long, such as a build machine's: a file that holds their hashes alone.

They are long and by chance, so one round of SHA-256 hides them well enough.
"""

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from octopull.config import load
from octopull.kernel.errors import Misuse
from octopull.security.callers import Caller

SECTION = "file"
"""What mistakes are told under."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticToken:
    """One token: whose it is, and its SHA-256."""

    name: str
    """What rules call ``user:NAME``, and logs show."""
    sha256: str
    """As ``printf %s TOKEN | sha256sum`` prints it."""
    groups: list[str] = field(default_factory=list[str])
    expires: str = ""
    """The first day on which it no longer counts (UTC): ``2027-01-31``. Empty: none."""

    def __post_init__(self) -> None:
        if not self.name or _HEX.fullmatch(self.sha256) is None:
            raise Misuse("a token has a name, and the 64 hex digits of its sha256", name=self.name)
        if self.expires:
            try:
                dt.date.fromisoformat(self.expires)
            except ValueError as error:
                raise Misuse("expires is a day, such as '2027-01-31'", name=self.name) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    tokens: list[StaticToken]


class StaticTokens:
    """The tokens of one file."""

    def __init__(self, tokens: Mapping[str, StaticToken]) -> None:
        self._tokens = tokens

    def caller(self, token: str, now: dt.datetime) -> Caller | None:
        """Whose ``token`` is at ``now`` (UTC); None if nobody's, or no longer."""
        asked = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        found = self._tokens.get(asked)
        # What finds it could at most tell of its hash; still nothing is compared bit by bit.
        if found is None or not hmac.compare_digest(found.sha256, asked):
            return None
        if found.expires and now.date() >= dt.date.fromisoformat(found.expires):
            return None
        return Caller(name=found.name, groups=frozenset(found.groups))


def parse(content: bytes) -> StaticTokens:
    """The tokens of a YAML file.

    Raises:
        Misuse: every mistake at once.

    """
    if len(content) > load.FILE_BYTES_MAX:
        raise Misuse("too long", bytes_max=load.FILE_BYTES_MAX)
    try:
        document = load.parse(content.decode(), "")
    except (Misuse, UnicodeDecodeError):
        # Not chained: the parser's message may quote the file.
        raise Misuse("no YAML, or it does not begin with 'tokens:'") from None
    found = load.load(_File, SECTION, {SECTION: document}, {}).tokens
    by_hash = {one.sha256: one for one in found}
    if len(by_hash) != len(found):
        raise Misuse("each token is given once")
    return StaticTokens(by_hash)
