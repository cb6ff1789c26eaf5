"""Registries whose images this cluster fetches when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from octopull.config.backends import check_credentials
from octopull.kernel import names
from octopull.kernel.errors import InvalidName, Misuse
from octopull.oci.upstreams import DOCKER_HUB

DOCKER_HUB_URL = "https://registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """One upstream registry. Origins and tag indexes speak to it; others need its name alone."""

    name: str
    """What ``ns=`` says, and what its repositories begin with: ``docker.io``."""
    url: str = ""
    """Where it is; empty: ``https://<name>``, or Docker Hub's address for ``docker.io``."""
    credentials: str = ""
    """A file with ``user:password`` in its first line, or docker's ``config.json``, read anew for
    each token. Secrets have no place in this object."""
    username_variable: str = ""
    """The environment variables that hold user and password, instead of a file."""
    password_variable: str = ""
    credential_helper: str = ""
    """Or what ``docker-credential-<this> get`` says, such as ``ecr-login``."""
    tag_ttl_s: float = 60.0
    """How long a tag's digest counts before the upstream is asked again; 0 asks every time."""
    timeout_s: float = 30.0
    """How long one of its answers may take, or the next bytes of a blob."""
    requests_max: int = 8
    """Blobs fetched from it at once, by one origin; few registries take more kindly."""

    def __post_init__(self) -> None:
        try:
            names.repository(self.name)
        except InvalidName as fault:
            raise Misuse("an upstream's name is the first part of repository names",
                         name=self.name) from fault  # fmt: skip
        if "/" in self.name:
            raise Misuse("an upstream's name has no slash", name=self.name)
        _check_url(self.address)
        if self.tag_ttl_s < 0 or self.timeout_s <= 0:
            raise Misuse("durations must not be negative", name=self.name)
        if self.requests_max < 1:
            raise Misuse("at least one request at a time", requests_max=self.requests_max)
        check_credentials(self.credentials, self.username_variable, self.password_variable,
                          self.credential_helper, name=self.name)  # fmt: skip

    @property
    def address(self) -> str:
        """The URL before ``/v2/``, without a slash at its end."""
        default = DOCKER_HUB_URL if self.name == DOCKER_HUB else f"https://{self.name}"
        return (self.url or default).rstrip("/")


def _check_url(url: str) -> None:
    # A URL with a user may hold a password, so none is shown.
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Misuse("an upstream's url begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise Misuse("credentials belong into a file or variables, not into the url")
    if parts.query or parts.fragment:
        raise Misuse("an upstream's url has neither query nor fragment")


def names_of(upstreams: Sequence[UpstreamSettings]) -> frozenset[str]:
    """The upstreams' names.

    Raises:
        Misuse: one is given twice.

    """
    found = frozenset(one.name for one in upstreams)
    if len(found) != len(upstreams):
        raise Misuse("each upstream is given once")
    return found
