"""Who we are to a registry: from a file or the environment, read when needed, kept nowhere.

Docker's ``config.json`` may name a helper program instead, which backends/credential_helpers.py
asks. Nothing here puts a secret into a fault or a log line.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from octopull.backends.registry_place import Place
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


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a token is asked for with, instead of user and password (distribution,
    docs/spec/auth/oauth.md: a refresh token).
    """

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Helper:
    """The program ``docker-credential-<name>`` knows; ``server`` is what it is asked for."""

    name: str
    server: str


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}
    cred_helpers: dict[str, str] = msgspec.field(default_factory=dict, name="credHelpers")
    creds_store: str = msgspec.field(default="", name="credsStore")


def read(place: Place) -> Credentials | IdentityToken | Helper | None:
    """The credentials for a registry, None if it is asked anonymously; reads a file.

    Raises:
        Unavailable: the file or the variables named are not there, or not readable as such.

    """
    if place.username_variable:
        return _from_environment(place)
    if place.credential_helper:
        return Helper(place.credential_helper, _server(place))
    if not place.credentials:
        return None
    path = Path(place.credentials)
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise Unavailable(f"the credentials of {place.name} can't be read: "
                          f"{error.strerror}", path=str(path)) from error  # fmt: skip
    if content.lstrip().startswith(b"{"):
        return _from_docker_config(place, content)
    found = _pair(content.partition(b"\n")[0].strip())
    if found is None:
        raise Unavailable(f"the credentials of {place.name} are not user:password",
                          path=str(path))  # fmt: skip
    return found


def _from_environment(place: Place) -> Credentials:
    username = os.environ.get(place.username_variable)
    password = os.environ.get(place.password_variable)
    if not username or password is None:
        raise Unavailable(f"the variables with the credentials of {place.name} are not set")
    return Credentials(username, password)


def _from_docker_config(
    place: Place, content: bytes
) -> Credentials | IdentityToken | Helper | None:
    """Docker's ``config.json``; a registry that it does not name is asked anonymously."""
    broken = Unavailable(f"the credentials of {place.name} are no docker config.json")
    try:
        config = msgspec.json.decode(content, type=_DockerConfig)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not chained: the decoder's message may quote the file.
        raise broken from None
    keys = _keys(place)
    helper = next((config.cred_helpers[key] for key in keys if key in config.cred_helpers), None)
    if helper is not None:
        return Helper(helper, _server(place))
    entry = next((config.auths[key] for key in keys if key in config.auths), None)
    # With a store of credentials, docker leaves the entries in the file empty.
    if config.creds_store and entry in {None, _Entry()}:
        return Helper(config.creds_store, _server(place))
    if entry is None:
        return None
    found = _of_entry(entry)
    if found is None:
        raise broken
    return found


def _of_entry(entry: _Entry) -> Credentials | IdentityToken | None:
    if entry.identitytoken:
        return IdentityToken(entry.identitytoken)
    if entry.username and entry.password:
        return Credentials(entry.username, entry.password)
    try:
        return _pair(base64.b64decode(entry.auth, validate=True))
    except (binascii.Error, ValueError):
        return None


def _server(place: Place) -> str:
    return _DOCKER_HUB_KEYS[0] if place.name == DOCKER_HUB else place.host


def _keys(place: Place) -> list[str]:
    names = [place.name, place.host]
    keys = [*names, *(f"https://{name}" for name in names)]
    keys += [f"https://{name}/v2/" for name in names]
    return [*keys, *(_DOCKER_HUB_KEYS if place.name == DOCKER_HUB else ())]


def _pair(content: bytes) -> Credentials | None:
    try:
        username, colon, password = content.decode().partition(":")
    except UnicodeDecodeError:
        return None
    return Credentials(username, password) if colon and username else None
