"""Passwords compared with their hashes: in threads, few at once, and not anew for each request."""

import asyncio
import hashlib
import hmac
import itertools
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from octopull.kernel.errors import Misuse, TooMany, Unavailable
from octopull.security.htpasswd import BCRYPT

AT_ONCE = 2
"""Comparisons at once: each keeps a processor busy for 50 ms or more."""

RESERVED = 1
"""More of them, for those whose password was right before: no guesses delay them."""

WAITING_MAX = 64
WAITING_PER_ADDRESS_MAX = 4
"""So that no address takes all places: with these it keeps all comparisons busy as well."""

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
        self._reserved = asyncio.Semaphore(RESERVED)
        self._waiting = Counter[str]()
        self._comparing: dict[bytes, asyncio.Event] = {}
        self._right, self._wrong = _Answers(), _Answers()

    async def match(self, user: str, password: str, address: str = "") -> bool:
        """Whether ``password`` is ``user``'s; an unknown user takes as long as one that is known.

        Raises:
            TooMany: too many that came from ``address`` wait for the same.
            Unavailable: too many do from all addresses.

        """
        users = self._users()
        if not users:
            return False
        known = user in users
        hashed = users[user] if known else _any_of(user, users)
        name = self._name(user, password, hashed)
        while (found := self._remembered(name)) is None:
            # Who shows the same at once, as a client's connections do, takes one place.
            if (other := self._comparing.get(name)) is not None:
                await other.wait()
                continue
            with self._alone(name), self._place(name, address) as gate:
                async with gate:
                    found = await asyncio.to_thread(is_of, password, hashed) and known
                (self._right if found else self._wrong).add(name)
                return found
        return found

    def _remembered(self, name: bytes) -> bool | None:
        """What was found lately; None if nothing was."""
        if self._right.counts(name):
            return True
        return False if self._wrong.counts(name) else None

    @contextmanager
    def _alone(self, name: bytes) -> Iterator[None]:
        ended = self._comparing[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._comparing[name]
            ended.set()

    @contextmanager
    def _place(self, name: bytes, address: str) -> Iterator[asyncio.Semaphore]:
        """A place among those who wait, and what for."""
        if name in self._right:
            yield self._reserved
            return
        if self._waiting[address] >= WAITING_PER_ADDRESS_MAX:
            told = f"too many logins at once from your address: at most {WAITING_PER_ADDRESS_MAX}"
            raise TooMany(told)
        if self._waiting.total() >= WAITING_MAX:
            raise Unavailable("too many logins at once", most=WAITING_MAX)
        self._waiting[address] += 1
        try:
            yield self._gate
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def _name(self, user: str, password: str, hashed: str) -> bytes:
        parts = "\0".join((hashed, user.replace("\0", ""), password)).encode("utf-8", "replace")
        return hmac.new(self._secret, parts, hashlib.sha256).digest()


def _any_of(user: str, users: Mapping[str, str]) -> str:
    """One of the hashes, always the same for ``user``.

    Hashes cost differently. Were it one for all, its time would tell who is unknown; so unknown users
    take as long as known ones do, some this and some that.
    """
    chosen = int.from_bytes(hashlib.sha256(user.encode("utf-8", "replace")).digest()) % len(users)
    return next(itertools.islice(users.values(), chosen, None))


class _Answers:
    """The newest ``REMEMBERED_MAX`` names that got one answer.

    Right and wrong ones are kept apart: no number of guesses drives out who knows a password.
    """

    def __init__(self) -> None:
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def __contains__(self, name: bytes) -> bool:
        return name in self._until_s

    def counts(self, name: bytes) -> bool:
        """Whether ``name`` was added within ``REMEMBERED_S``."""
        return time.monotonic() < self._until_s.get(name, 0.0)

    def add(self, name: bytes) -> None:
        self._until_s[name] = time.monotonic() + REMEMBERED_S
        self._until_s.move_to_end(name)
        while len(self._until_s) > REMEMBERED_MAX:
            self._until_s.popitem(last=False)


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
