"""TLS among the services of a cluster: both sides prove who they are, and what.

TLS 1.3 alone. A certificate is believed if an authority of the cluster's file signed it; what its
holder is stands in it (``security/roles.py``). Only ``ssl`` is needed, but for seals.
"""

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octopull.config.tls import ClusterTls, Seals, Tls
from octopull.kernel.errors import Misuse
from octopull.security import inspection
from octopull.security.identity import names_of
from octopull.security.roles import Role, listed, roles_of
from octopull.security.tls import load_own, trust

if TYPE_CHECKING:
    from octopull.security.seals import Prover, Sealer

PEERS = frozenset({Role.AGENT, Role.ORIGIN})
OP_ENABLE_KTLS = getattr(ssl, "OP_ENABLE_KTLS", 1 << 3)
"""Python names it from 3.12 on; OpenSSL 3 knows it, and does without where the kernel has none."""


@dataclass(frozen=True, slots=True)
class Mutual:
    """Contexts made from one state of the files."""

    serving: ssl.SSLContext
    """For HTTP: callers are asked for a certificate, and answered by what it says (``rights``)."""
    calling: dict[Role | None, ssl.SSLContext]
    """For HTTP to a service of that role, at an address that its certificate names.

    Under None, for operators alone: to whatever has a certificate of anybody that the cluster or
    this host trusts, such as a proxy that has one for the public.
    """
    greeting: ssl.SSLContext
    """For peers that dial: no certificate, no connection."""
    dialing: ssl.SSLContext
    """For peers that are dialled: they move, so their addresses are not compared."""
    ends_at: float
    """Unix time at which our own certificate ends."""
    authorities: frozenset[bytes]
    """Those whose certificates are believed, in DER."""
    sealer: "Sealer | None"
    """What seals metainfo, at an origin."""
    prover: "Prover | None"
    """What proves such seals, at those who are told of blobs; None where they are ignored."""

    @property
    def context(self) -> ssl.SSLContext:
        """By which callers are believed."""
        return self.serving


class RoleContext(ssl.SSLContext):
    """Ends a handshake with a side that proves to be something else than was expected."""

    expected: Collection[Role] = ()


class _Object(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        _admit(self)


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's signature
        super().do_handshake(block)
        _admit(self)


RoleContext.sslobject_class = _Object
RoleContext.sslsocket_class = _Socket


def _admit(side: ssl.SSLObject | ssl.SSLSocket) -> None:
    expected = side.context.expected if isinstance(side.context, RoleContext) else ()
    shown = side.getpeercert() or {}
    found = roles_of(names_of(shown))
    if expected and not found & set(expected):
        said = f"it is for {listed(found)}, not for {listed(expected)}"
        raise ssl.SSLCertVerificationError(1, said)


def load(files: ClusterTls, own: Role) -> Mutual:
    """Contexts from ``files``, for a service that is ``own``.

    Raises:
        Misuse: a file can't be read, the certificate is not of the authority, or it is not for
            what this service is.

    """
    served = Tls(certificate=files.certificate, key=files.key)
    serving = _context(ssl.PROTOCOL_TLS_SERVER, served, files.authority)
    serving.verify_mode = ssl.CERT_OPTIONAL
    # A session that is resumed would outlive the certificate that it began with.
    serving.num_tickets = 0
    known = inspection.look(serving, files.certificate, files.authority)
    if known.names is not None and own not in roles_of(known.names):
        told = listed(roles_of(known.names))
        raise Misuse(
            f"{files.certificate} is for {told}, not for {own}: octopull certs issue {own}"
        )
    calling: dict[Role | None, ssl.SSLContext] = {}
    if own is Role.OPERATOR:
        calling[None] = ssl.create_default_context()
        trust(calling[None], files.authority)
        load_own(calling[None], served)
    for role in Role:
        context = _context(ssl.PROTOCOL_TLS_CLIENT, served, files.authority)
        context.expected = {role}
        calling[role] = context
    greeting = _context(ssl.PROTOCOL_TLS_SERVER, served, files.authority)
    greeting.verify_mode = ssl.CERT_REQUIRED
    # A connection lasts as long as its swarm: there is none to be resumed.
    greeting.num_tickets = 0
    dialing = _context(ssl.PROTOCOL_TLS_CLIENT, served, files.authority)
    dialing.check_hostname = False
    for context in (greeting, dialing):
        context.expected = PEERS
        context.options |= OP_ENABLE_KTLS
    authorities = frozenset(serving.get_ca_certs(binary_form=True))
    sealer, prover = _seals(files, own, authorities)
    return Mutual(serving, calling, greeting, dialing, known.ends_at, authorities, sealer, prover)


def _seals(
    files: ClusterTls, own: Role, authorities: Collection[bytes]
) -> "tuple[Sealer | None, Prover | None]":
    if files.seals is Seals.IGNORED or own not in {Role.ORIGIN, Role.TRACKER, Role.AGENT}:
        return None, None
    # Other services, and clusters that ignore seals, do without the library that it takes.
    from octopull.security import seals

    prover = seals.Prover(authorities)
    if own is not Role.ORIGIN:
        return None, prover
    sealer = seals.load_sealer(files)
    seals.check_own(sealer, prover, files.certificate)
    return sealer, prover


def _context(protocol: int, own: Tls, authority: str) -> RoleContext:
    context = RoleContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    load_own(context, own)
    trust(context, authority)
    return context
