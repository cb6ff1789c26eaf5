"""Which addresses agents may announce."""

from enum import StrEnum

from octopull.config.tls import ClusterTls
from octopull.kernel.errors import Misuse


class Announced(StrEnum):
    """Which addresses a tracker tells others of, as an agent's."""

    ANY = "any"
    OWN = "own"
    """One that its certificate names, or that it calls from: nobody announces others then."""


def check_announced(announced: Announced, tls: ClusterTls | None) -> None:
    """Raises Misuse: nobody shows a certificate."""
    if announced is Announced.OWN and tls is None:
        raise Misuse("announced: own goes by certificates: it needs tls")
