"""Passwords compared with their hashes: in threads, few at once, and not anew for each request."""

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from octopull.kernel.errors import Misuse, Unavailable
from octopull.security.htpasswd import BCRYPT

AT_ONCE = 2
"""Comparisons at once: each keeps a processor busy for 50 ms or more."""

WAITING_MAX = 64
REMEMBERED_MAX = 10_000
REMEMBERED_S = 60.0
BCRYPT_BYTES_MAX = 72
"""bcrypt looks at no more of a password, and neither does Apache."""


class Passwords:
    """Compares with the hashes that ``users`` tells now.

    Answers are remembered for ``REMEMBERED_S``, under a name that tells nothing of the password.

    Raises:
        Misuse: what compares is not installed.

    """

    def __init__(self, users: Callable[[], Mapping[str, str]]) -> None:
        _check_installed()
        self._users = users
        self._secret = os.urandom(32)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()

    async def match(self, user: str, password: str) -> bool:
        """Whether ``password`` is ``user``'s; an unknown user takes as long as one that is known.

        Raises:
            Unavailable: too many wait for the same.

        """
        users = self._users()
        if not users:
            return False
        hashed, known = users.get(user), user in users
        if hashed is None:
            hashed = next(iter(users.values()))
        name = self._name(user, password, hashed)
        found, until_s = self._known.get(name, (False, 0.0))
        if time.monotonic() >= until_s:
            found = await self._compared(password, hashed) and known
            self._remember(name, found)
        return found

    async def _compared(self, password: str, hashed: str) -> bool:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("too many logins at once", most=WAITING_MAX)
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(is_of, password, hashed)
        finally:
            self._waiting -= 1

    def _name(self, user: str, password: str, hashed: str) -> bytes:
        parts = "\0".join((hashed, user.replace("\0", ""), password)).encode("utf-8", "replace")
        return hmac.new(self._secret, parts, hashlib.sha256).digest()

    def _remember(self, name: bytes, found: bool) -> None:  # noqa: FBT001 - what was found
        self._known[name] = found, time.monotonic() + REMEMBERED_S
        self._known.move_to_end(name)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)


def is_of(password: str, hashed: str) -> bool:
    """Whether ``hashed`` is a hash of ``password``. Takes a while."""
    import argon2
    import bcrypt

    secret = password.encode("utf-8", "replace")
    if BCRYPT.fullmatch(hashed):
        try:
            return bcrypt.checkpw(secret[:BCRYPT_BYTES_MAX], hashed.encode("ascii"))
        except ValueError:
            return False
    try:
        return argon2.PasswordHasher().verify(hashed, secret)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _check_installed() -> None:
    try:
        import argon2
        import bcrypt

        del argon2, bcrypt
    except ImportError as error:
        raise Misuse(f"passwords need the extra 'access' of octopull: {error}") from error
