"""Access in the embedded cluster: a key of its own, and agents that send clients to the proxy."""

import os
from dataclasses import replace
from pathlib import Path

from octopull.config import load
from octopull.config.access import AccessSettings
from octopull.http.serving import Listening
from octopull.security import issuing

MAKE_ONE = "generate"
"""In place of a file: a key is made beside the data, and kept."""


def read(path: Path) -> AccessSettings:
    """The section ``access`` of a file.

    Raises:
        Misuse: every mistake at once.

    """
    return load.load(AccessSettings, "access", load.read(path), os.environ)


def with_key(access: AccessSettings, data: Path) -> AccessSettings:
    """The same, with a key in place of ``MAKE_ONE``."""
    service = access.token_service
    if service is None or service.key != MAKE_ONE:
        return access
    path = data / "token.key"
    issuing.made(path)
    return replace(access, token_service=replace(service, key=str(path)))


def of_agents(access: AccessSettings, proxy: Listening, data: Path) -> AccessSettings:
    """What agents go by: the proxy gives the tokens, and its public key proves them."""
    service = access.token_service
    if service is None or not service.key:
        return access
    public = data / "token.pub"
    public.write_bytes(issuing.public(Path(service.key), service.keys))
    realm = service.realm or f"{proxy.url}/token"
    elsewhere = replace(service, key="", keys=str(public), realm=realm)
    return replace(access, token_service=elsewhere)
