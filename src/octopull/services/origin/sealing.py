"""What this origin says of its blobs, as bytes: sealed for those who ask for it so."""

from collections.abc import Callable

from octopull.blob import start
from octopull.blob.start import Inline, Plain
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading

Told = Callable[[Plain], bytes]
"""An encoded start. It blocks: a signature takes 30 µs, by RSA a millisecond or more."""


class Sealing:
    """Seals by the certificate that ``tls`` has now; in clear, and where seals are ignored, nothing."""

    def __init__(self, tls: Reloading[Mutual] | None) -> None:
        self._tls = tls

    def sealed(self, one: Plain) -> bytes:
        """``one`` with a seal, but for bytes that are whole: their digest proves them."""
        sealer = None if self._tls is None else self._tls.current.sealer
        if sealer is None or isinstance(one, Inline):
            return start.encode(one)
        return start.encode(sealer.seal(one))
