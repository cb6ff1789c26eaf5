"""What a certificate of our own says, and whether others will believe it.

The ``ssl`` module reads no certificate that was not shown in a handshake. So there is one, in
memory: nothing is asked of others, and what comes out is what they would find.
"""

import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from octopull.kernel.errors import Misuse
from octopull.security.identity import CertificateNames, names_of
from octopull.security.words import explain

_EXPIRED = 10


@dataclass(frozen=True, slots=True)
class Known:
    """Of a certificate: when it ends in Unix time, and its names, if it is good for anything."""

    ends_at: float
    names: CertificateNames | None


def look(serving: ssl.SSLContext, certificate: str, authority: str = "") -> Known:
    """What ``serving`` shows, which has ``certificate``'s file.

    It is to be proven by ``authority``; without one it is taken as it is, since clients may trust
    whom they like.

    Raises:
        Misuse: nobody who trusts that authority would believe it.

    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(authority or certificate)
    if not authority:
        # Then it needs no more than to be itself.
        trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        shown = _shown(serving, trusting)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return Known(time.time(), None)
        if not authority:
            return Known(math.inf, None)
        raise Misuse(f"{certificate} proves nothing to those who trust {authority}: "
                     f"{explain(error)}") from error  # fmt: skip
    assert isinstance(shown["notAfter"], str)
    return Known(ssl.cert_time_to_seconds(shown["notAfter"]), names_of(shown))


def _shown(serving: ssl.SSLContext, trusting: ssl.SSLContext) -> Mapping[str, object]:
    upstream, downstream = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(downstream, upstream)
    server = serving.wrap_bio(upstream, downstream, server_side=True)
    # The client has seen and proven the certificate once it ends; the server need not.
    for side in (client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    client.do_handshake()
    return client.getpeercert() or {}
