"""Credentials from docker's helper programs: ``docker-credential-<name> get``.

The protocol (docker-credential-helpers, README): the registry on standard input, and on standard
output ``{"Username": ..., "Secret": ...}``, or a sentence and an exit status that is not zero.
The user ``<token>`` means that the secret is an identity token. What a program says is never
repeated: it may hold a secret.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from io import FileIO

import msgspec

from octopull.backends import credentials
from octopull.backends.credentials import Credentials, Helper, IdentityToken
from octopull.backends.registry_place import Place
from octopull.kernel.errors import Unavailable

HELPER_S = 20.0
OUTPUT_BYTES_MAX = 64 * 1024
"""What a pipe holds: a program that says more never ends, and is killed."""

KEPT_S = 300.0
"""How long an answer counts, if no registry refuses it: some programs ask a cloud each time."""

IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a user's name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_UNKNOWN = b"credentials not found"
"""What programs say of a registry they know nothing of."""


class _Told(msgspec.Struct, frozen=True):
    username: str = msgspec.field(default="", name="Username")
    secret: str = msgspec.field(default="", name="Secret")


class Identity:
    """Who we are to the registry of ``place``; a program's answer is kept for ``KEPT_S``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept: Credentials | IdentityToken | None = None
        self._until_s = 0.0

    async def read(self) -> Credentials | IdentityToken | None:
        """What to show; None if it is asked anonymously.

        Raises:
            Unavailable: there should be something, and it can't be had.

        """
        if time.monotonic() < self._until_s:
            return self._kept
        found = await asyncio.to_thread(credentials.read, self._place)
        if isinstance(found, Helper):
            found = self._kept = await ask(found, self._place.name)
            self._until_s = time.monotonic() + KEPT_S
        return found

    def forget(self) -> None:
        """What was read last was refused."""
        self._kept, self._until_s = None, 0.0


async def ask(helper: Helper, label: str) -> Credentials | IdentityToken | None:
    """What the program has for the registry ``label``; None if it knows nothing of it.

    Raises:
        Unavailable: it isn't installed, fails, is too slow, or says something else.

    """
    program = f"docker-credential-{helper.name}"
    if _NAME.fullmatch(helper.name) is None:
        raise Unavailable(f"the credential helper of {label} has no proper name")
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"{program}, which has the credentials of {label}, is not installed")
    try:
        async with asyncio.timeout(HELPER_S):
            status, output = await _run(path, helper.server)
    except TimeoutError as error:
        raise Unavailable(f"{program} does not answer") from error
    except OSError as error:
        raise Unavailable(f"{program} can't be run: {error.strerror}") from error
    if status != 0:
        if _UNKNOWN in output:
            return None
        raise Unavailable(f"{program} has no credentials of {label}", status=status)
    return read(output, program)


def read(output: bytes, program: str) -> Credentials | IdentityToken:
    """What the program said.

    Raises:
        Unavailable: something else than credentials.

    """
    try:
        told = msgspec.json.decode(output, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _Told()
    if not told.username or not told.secret:
        # Not chained: the decoder's message may quote the output.
        raise Unavailable(f"{program} says something else than credentials")
    if told.username == IDENTITY_TOKEN_USER:
        return IdentityToken(told.secret)
    return Credentials(told.username, told.secret)


async def _run(path: str, server: str) -> tuple[int, bytes]:
    """Exit status and output."""
    # Pipes of our own: a daemon that the program leaves behind may hold them for ever.
    with _pipe() as (asked, ask), _pipe() as (answer, answering):
        ask.write(f"{server}\n".encode())
        ask.close()
        process = await asyncio.create_subprocess_exec(
            path, "get", stdin=asked, stdout=answering, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                # With all that it started.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        os.set_blocking(answer.fileno(), False)
        answering.close()
        return status, answer.read(OUTPUT_BYTES_MAX) or b""


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Its two ends."""
    reading, writing = os.pipe()
    with FileIO(reading, "rb") as one, FileIO(writing, "wb") as other:
        yield one, other
