"""Who a command is to a registry: from docker's ``config.json``, or another file, once it asks."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from octopull.backends.authorization import Authorization, Purpose
from octopull.backends.guard import Guard
from octopull.backends.registry_place import Place
from octopull.http.client import DEMANDED, Http
from octopull.kernel.errors import Unauthenticated, Unavailable
from octopull.oci import challenges

TIMEOUT_S = 30.0


def logins(environment: Mapping[str, str], home: Path) -> str:
    """The file in which docker or podman keeps logins; empty if there is none."""
    docker, runtime = environment.get("DOCKER_CONFIG"), environment.get("XDG_RUNTIME_DIR")
    places = [
        Path(docker) / "config.json" if docker else home / ".docker" / "config.json",
        Path(runtime) / "containers" / "auth.json" if runtime else None,
        home / ".config" / "containers" / "auth.json",
    ]
    return next((str(path) for path in places if path is not None and path.is_file()), "")


class RegistryLogin:
    """Proofs for one registry at ``base_url``; ``credentials`` is a file as an upstream's is."""

    def __init__(self, http: Http, base_url: str, credentials: str) -> None:
        parts = urlsplit(base_url)
        self._place = Place(
            name=parts.netloc, address=base_url.rstrip("/"), credentials=credentials,
            timeout_s=TIMEOUT_S, requests_max=1,
        )  # fmt: skip
        guard = Guard(parts.hostname or "")
        self._authorization = Authorization(http, self._place, guard)
        self._asked = False

    def shown(self, repository: str, purpose: Purpose) -> dict[str, str]:
        """The headers that prove who we are, as far as the registry asked before."""
        value = self._authorization.value(repository, purpose)
        return {} if value is None else {"Authorization": value}

    def lacks(self, repository: str, purpose: Purpose) -> bool:
        """Whether the registry will ask again: it did before, and what it got has run out."""
        return self._asked and not self.shown(repository, purpose)

    async def prove(
        self, refusal: Unauthenticated, repository: str, purpose: Purpose,
        refused: Mapping[str, str],
    ) -> dict[str, str]:  # fmt: skip
        """Other headers than ``refused``, which were answered with ``refusal``.

        Raises:
            Unauthenticated: there is nothing that could help, or what there is was refused.
            Unavailable: who gives tokens does not answer, or the file can't be read.

        """
        self._asked = True
        told = challenges.parse(str(refusal.details.get(DEMANDED, "")))
        value = refused.get("Authorization")
        try:
            found = await self._authorization.obtain(told, repository, purpose, value)
        except Unavailable as fault:
            if "wrong" not in fault.details:
                raise
            raise Unauthenticated(
                f"{self._place.name} refuses the login in {self._place.credentials}"
            ) from fault
        if not found:
            raise Unauthenticated(f"{refusal}: docker login {self._place.name}") from refusal
        return self.shown(repository, purpose)


def own_logins() -> str:
    """As ``logins``, of whoever runs this process."""
    return logins(os.environ, Path.home())
