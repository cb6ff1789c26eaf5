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
