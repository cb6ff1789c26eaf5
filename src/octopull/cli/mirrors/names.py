"""What a mirror joins: the local agent, and the registries that clients name."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from octopull.kernel.errors import InvalidName, Misuse

DOCKER_HUB = "docker.io"
NAME_CHARS_MAX = 255
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?", re.ASCII)
_AGENT = re.compile(
    rf"(?:(https?)://)?({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\]):([0-9]{{1,5}})/?", re.ASCII
)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Agent:
    """Where clients of this host find their agent; an IPv6 ``host`` is in brackets."""

    host: str
    port: int
    scheme: str = "http"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host:port``, which speaks HTTP unless ``https://`` stands before it.

        Raises:
            Misuse: it is no such address.

        """
        found = _AGENT.fullmatch(text) if len(text) <= NAME_CHARS_MAX else None
        if found is None or not 0 < int(found[3]) < 65536:
            raise Misuse(f"an agent is host:port or https://host:port, not {text[:80]!r}")
        return cls(found[2], int(found[3]), found[1] or "http")

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address with its scheme, without a slash at the end."""
        return f"{self.scheme}://{self.address}"

    @property
    def insecure(self) -> bool:
        """Whether clients must be told not to ask for TLS."""
        return self.scheme == "http"

    @property
    def exposed(self) -> bool:
        """Whether what it answers crosses a network in clear."""
        return self.insecure and not _loopback(self.host)


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry as it stands in image names.

    An ``own`` one is a name of the cluster itself: the agent stands for it, and nobody else is
    asked. For any other one, what the agent has not is asked of the registry.
    """

    name: str
    own: bool = False

    def __post_init__(self) -> None:
        host, _, port = self.name.partition(":")
        if len(self.name) > NAME_CHARS_MAX or _REGISTRY.fullmatch(self.name) is None:
            raise InvalidName(f"{self.name[:80]!r} is no registry such as docker.io or host:5000")
        # Clients take a first part without a dot or a port for a part of the repository.
        if not ("." in host or port or host == "localhost"):
            raise InvalidName(f"{self.name} is no registry: its name has no dot and no port")

    @property
    def upstream(self) -> str:
        """The URL that containerd asks for it, without a mirror (containerd docs/hosts.md)."""
        if self.name == DOCKER_HUB:
            return "https://registry-1.docker.io"
        host = self.name.partition(":")[0]
        return f"{'http' if _loopback(host) else 'https'}://{self.name}"
