"""Who we are to an upstream: from a file or the environment, read when needed, kept nowhere.

Nothing here puts a secret into a fault or a log line.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from octopull.config.upstreams import UpstreamSettings
from octopull.kernel.errors import Unavailable
from octopull.oci.upstreams import DOCKER_HUB

FILE_BYTES_MAX = 1 << 20
_DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password; printing the object does not show the latter."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """As the value of ``Authorization`` (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}


def read(settings: UpstreamSettings) -> Credentials | None:
    """The credentials for an upstream, None if it is asked anonymously; reads a file.

    Raises:
        Unavailable: the file or the variables named are not there, or not readable as such.

    """
    if settings.username_variable:
        return _from_environment(settings)
    if not settings.credentials:
        return None
    path = Path(settings.credentials)
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise Unavailable(f"the credentials of {settings.name} can't be read: "
                          f"{error.strerror}", path=str(path)) from error  # fmt: skip
    if content.lstrip().startswith(b"{"):
        return _from_docker_config(settings, content)
    found = _pair(content.partition(b"\n")[0].strip())
    if found is None:
        raise Unavailable(f"the credentials of {settings.name} are not user:password",
                          path=str(path))  # fmt: skip
    return found


def _from_environment(settings: UpstreamSettings) -> Credentials:
    username = os.environ.get(settings.username_variable)
    password = os.environ.get(settings.password_variable)
    if not username or password is None:
        raise Unavailable(f"the variables with the credentials of {settings.name} are not set")
    return Credentials(username, password)


def _from_docker_config(settings: UpstreamSettings, content: bytes) -> Credentials | None:
    """Docker's ``config.json``; an upstream that it does not name is asked anonymously."""
    broken = Unavailable(f"the credentials of {settings.name} are no docker config.json")
    try:
        auths = msgspec.json.decode(content, type=_DockerConfig).auths
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not chained: the decoder's message may quote the file.
        raise broken from None
    entry = next((auths[key] for key in _keys(settings) if key in auths), None)
    if entry is None:
        return None
    if entry.username and entry.password:
        return Credentials(entry.username, entry.password)
    try:
        found = _pair(base64.b64decode(entry.auth, validate=True))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise broken
    return found


def _keys(settings: UpstreamSettings) -> list[str]:
    host = urlsplit(settings.address).netloc
    places = [settings.name, host]
    keys = [*places, *(f"https://{place}" for place in places)]
    keys += [f"https://{place}/v2/" for place in places]
    return [*keys, *(_DOCKER_HUB_KEYS if settings.name == DOCKER_HUB else ())]


def _pair(content: bytes) -> Credentials | None:
    try:
        username, colon, password = content.decode().partition(":")
    except UnicodeDecodeError:
        return None
    return Credentials(username, password) if colon and username else None
