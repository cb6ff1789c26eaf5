"""What one client may take of a server that strangers reach."""

import math
from dataclasses import dataclass

from octopull.kernel.errors import Misuse


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Each is for one process, and 0 lifts it. Behind a load balancer all clients have its address."""

    connections_per_address: int = 1000
    """More are answered 429 and closed. A container runtime holds ten or so, a build farm behind
    one address some hundreds."""
    requests_per_s: float = 1000.0
    """In the long run, of one caller that is logged in, and of one address. An image takes about
    twenty requests, and a process answers some thousands per second."""
    requests_burst: int = 10_000
    """At once, before ``requests_per_s`` counts: a rollout of hundreds of hosts that share a login."""
    uploads: int = 1000
    """Sessions of one caller, or of one address, that were begun here and not ended. docker
    pushes five layers at once."""
    upload_idle_s: float = 3600.0
    """A session that was silent for so long counts no more; its origin keeps it."""

    def __post_init__(self) -> None:
        if min(self.connections_per_address, self.requests_burst, self.uploads) < 0:
            raise Misuse("a limit is not negative; 0 lifts it")
        if not 0 <= self.requests_per_s < math.inf or not 0 < self.upload_idle_s < math.inf:
            raise Misuse("requests_per_s and upload_idle_s are numbers, and not negative",
                         requests_per_s=self.requests_per_s,
                         upload_idle_s=self.upload_idle_s)  # fmt: skip
        if self.requests_per_s and not self.requests_burst:
            raise Misuse("requests_burst must let one request in")
