"""Apache's file of users and passwords, as ``htpasswd -B`` writes it; argon2 is understood, too.

Hashes that are quickly tried out (MD5, SHA-1, crypt) and passwords in clear are refused.
"""

import re
from collections.abc import Mapping

from octopull.kernel.errors import Misuse

USERS_MAX = 100_000
COST_MAX = 15
"""Of bcrypt: two seconds for each attempt."""

BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)
_ARGON2 = re.compile(
    r"\$argon2id?\$v=19\$m=(?P<kib>\d{1,7}),t=(?P<times>\d{1,3}),p=\d{1,3}"
    r"\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}",
    re.ASCII,
)
ARGON2_KIB_MAX = 1024 * 1024


def parse(content: bytes) -> Mapping[str, str]:
    """The hash of each user's password.

    Raises:
        Misuse: the message names the first line that is wrong, and never shows it.

    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise Misuse("not text in UTF-8") from error
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, hashed = line.strip().partition(":")
        if not colon or not user or user in users:
            raise Misuse(f"line {number}: no user:hash, or a user who is there already")
        if not _is_costly(hashed):
            raise Misuse(
                f"line {number}: the password of {user[:80]!r} is neither by bcrypt "
                f"(htpasswd -B, cost 4 to {COST_MAX}) nor by argon2"
            )
        users[user] = hashed
    if len(users) > USERS_MAX:
        raise Misuse("too many users", most=USERS_MAX)
    return users


def _is_costly(hashed: str) -> bool:
    """Whether it is a hash that costs whoever guesses, and not too much whoever checks."""
    match = BCRYPT.fullmatch(hashed)
    if match is not None:
        return 4 <= int(match["cost"]) <= COST_MAX
    match = _ARGON2.fullmatch(hashed)
    return match is not None and int(match["kib"]) <= ARGON2_KIB_MAX and int(match["times"]) <= 100
