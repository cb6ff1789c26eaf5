"""TLS of a server: its certificate, and whether clients must show theirs."""

from dataclasses import dataclass
from enum import StrEnum

from octopull.kernel.errors import Misuse


class Clients(StrEnum):
    """Whether a client is asked for a certificate of its own."""

    UNASKED = "unasked"
    ASKED = "asked"
    """One that has none is let in all the same, without a name."""
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files of a server: its certificate, with the chain behind it, and its key."""

    certificate: str
    key: str
    authority: str = ""
    """PEM file of the authorities by which clients' certificates are proven."""
    clients: Clients = Clients.UNASKED
    """A certificate that no authority proves is refused, asked for or required."""

    def __post_init__(self) -> None:
        if self.clients is not Clients.UNASKED and not self.authority:
            raise Misuse("clients' certificates are proven by an authority", clients=self.clients)


class Seals(StrEnum):
    """What becomes of the seals by which origins answer for metainfo (docs/tls.md)."""

    DEMANDED = "demanded"
    """Origins seal it, and agents believe none without a seal."""
    IGNORED = "ignored"
    """None is made, or looked at: as long as some origin or tracker knows of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTls:
    """PEM files by which the services of a cluster know each other; they may change at any time."""

    authority: str
    """The authorities of the cluster, the same file on every host."""
    certificate: str
    """This service's own; it says what the service is (``octopull certs issue``)."""
    key: str
    seals: Seals = Seals.DEMANDED
    """A tracker or peer that lies about a blob's pieces could else stream wrong bytes for a while."""


def check_one_tls(listen: Tls | None, cluster: ClusterTls | None) -> None:
    """Raises Misuse: a port that is for services of the cluster has two certificates."""
    if listen is not None and cluster is not None:
        raise Misuse("with tls, listen.tls has no place here: this port is for services alone")
