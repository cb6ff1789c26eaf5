"""Whose word metainfo is: an origin's, as its seal proves, or nobody knows whose.

Trackers pass on what origins say, so who asks them must not take their word for it: pieces are
proven by metainfo, and given on before the whole blob is.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from octopull.blob.start import Inline, Plain, Sealed, Start, plain
from octopull.kernel.errors import Corrupt, Unavailable
from octopull.observability import logs, metrics
from octopull.observability.rarely import Rarely
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading

if TYPE_CHECKING:
    # Where nothing is proven, the library that it takes need not be there.
    from octopull.security.seals import Prover

log = logs.get("binding")
UNBOUND = "no tracker tells of this blob what one of the cluster's origins answers for"
"""Said to clients in place of who lied."""

TOLD_EVERY_S = 60.0
"""How often it is told of a host that it lied; each time is counted."""


class Binding:
    """What is believed of blobs, by the certificates that ``tls`` has now.

    In clear, and where seals are ignored, that is all that is told. ``now_s`` is the time, in Unix
    seconds, by which certificates begin and end.
    """

    def __init__(
        self, tls: Reloading[Mutual] | None, now_s: Callable[[], float] = time.time
    ) -> None:
        self._tls = tls
        self.now_s = now_s
        self._rarely = Rarely(TOLD_EVERY_S)

    @property
    def _prover(self) -> "Prover | None":
        return None if self._tls is None else self._tls.current.prover

    async def proven(
        self, host: str, found: Sequence[Start]
    ) -> tuple[list[Plain], list[Unavailable]]:
        """Those of ``found``, which ``host`` told, that an origin answers for, or that are whole.

        For each of the others a fault, of which the log tells; a metric counts them.
        """
        prover = self._prover
        if prover is None:
            return [plain(one) for one in found], []
        # A hundred microseconds for each, and a chain of certificates now and then.
        outcomes = await asyncio.to_thread(_prove, prover, found, self.now_s())
        refused = [self.refused(host, one) for one in outcomes if isinstance(one, Corrupt)]
        return [one for one in outcomes if not isinstance(one, Corrupt)], refused

    def refused(self, host: str, fault: Corrupt) -> Unavailable:
        """``host`` told what can't be believed: so it counts as one that does not answer."""
        metrics.METAINFO_REFUSED.inc()
        if self._rarely.due(host, time.monotonic()):
            digest = fault.details.get("digest", "")
            log.error("metainfo.refused", host=host, digest=digest, reason=str(fault))
        return Unavailable(f"what {host} tells is not believed: {fault}", public=UNBOUND)

    async def checked(self, one: Start) -> tuple[Start, float]:
        """``one``, to be passed on, and when its seal ends in Unix time.

        An origin said so by itself: if its seal proves nothing, the rest may still be of use.
        """
        prover = self._prover
        if prover is None or not isinstance(one, Sealed):
            return one, math.inf
        try:
            signer = await asyncio.to_thread(prover.prove, one, self.now_s())
        except Corrupt as fault:
            self.refused("an origin", fault)
            return one.described, math.inf
        return one, signer.ends_at


def _prove(prover: "Prover", found: Sequence[Start], now_s: float) -> list[Plain | Corrupt]:
    return [_proven(prover, one, now_s) for one in found]


def _proven(prover: "Prover", one: Start, now_s: float) -> Plain | Corrupt:
    if isinstance(one, Inline):
        # Its digest proved it (blob/start.py).
        return one
    if not isinstance(one, Sealed):
        return Corrupt("it has no seal of an origin", digest=one.digest.short)
    try:
        prover.prove(one, now_s)
    except Corrupt as fault:
        return Corrupt(str(fault), digest=one.digest.short)
    return one.described
