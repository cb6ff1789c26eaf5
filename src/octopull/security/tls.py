"""TLS contexts: which versions, which certificate, and by whom the other side's is proven."""

import re
import ssl
from pathlib import Path

from octopull.config.tls import Clients, Tls
from octopull.kernel.errors import Misuse

_ASKING = {
    Clients.UNASKED: ssl.CERT_NONE,
    Clients.ASKED: ssl.CERT_OPTIONAL,
    Clients.REQUIRED: ssl.CERT_REQUIRED,
}

_CERTIFICATE = re.compile(f"{ssl.PEM_HEADER}.+?{ssl.PEM_FOOTER}", re.DOTALL)


def server_context(settings: Tls) -> ssl.SSLContext:
    """A server's side: TLS 1.2 or later, with the certificate chain and key from their files.

    Raises:
        Misuse: a file can't be read, or key and certificate do not belong together.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_own(context, settings)
    if settings.clients is not Clients.UNASKED:
        trust(context, settings.authority)
        # A session that is resumed would not say which authority proved its certificate.
        context.num_tickets = 0
    context.verify_mode = _ASKING[settings.clients]
    return context


def authorities_of(path: str) -> frozenset[bytes]:
    """The certificates of a PEM file, in DER: what ``trust`` believes by it.

    Raises:
        Misuse: it can't be read.

    """
    try:
        found = _CERTIFICATE.findall(Path(path).read_text(errors="replace"))
        return frozenset(map(ssl.PEM_cert_to_DER_cert, found))
    except (OSError, ValueError) as error:
        raise Misuse(f"no certificates of an authority in {path}: {error}") from error


def caller_context(authority: str) -> ssl.SSLContext:
    """A client's side, which believes whom the authorities of that file vouch for, and nobody else.

    Raises:
        Misuse: as ``trust``.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    trust(context, authority)
    return context


def load_own(context: ssl.SSLContext, own: Tls) -> None:
    """Have ``context`` show the certificate of ``own``.

    Raises:
        Misuse: a file can't be read, or key and certificate do not belong together.

    """
    try:
        context.load_cert_chain(own.certificate, own.key)
    except (OSError, ssl.SSLError) as error:
        raise Misuse(
            f"no TLS with certificate {own.certificate} and key {own.key}: {error}"
        ) from error


def trust(context: ssl.SSLContext, authority: str) -> None:
    """Have ``context`` believe what the authorities of that file signed.

    Raises:
        Misuse: it can't be read, or holds none.

    """
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise Misuse(f"no certificates of an authority in {authority}: {error}") from error
