"""TLS contexts: which versions, which certificate, and by whom the other side's is proven."""

import ssl

from octopull.config.tls import Clients, Tls
from octopull.kernel.errors import Misuse

_ASKING = {
    Clients.UNASKED: ssl.CERT_NONE,
    Clients.ASKED: ssl.CERT_OPTIONAL,
    Clients.REQUIRED: ssl.CERT_REQUIRED,
}


def server_context(settings: Tls) -> ssl.SSLContext:
    """A server's side: TLS 1.2 or later, with the certificate chain and key from their files.

    Raises:
        Misuse: a file can't be read, or key and certificate do not belong together.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise Misuse(
            f"no TLS with certificate {settings.certificate} and key {settings.key}: {error}"
        ) from error
    if settings.clients is not Clients.UNASKED:
        _trust(context, settings.authority)
    context.verify_mode = _ASKING[settings.clients]
    return context


def _trust(context: ssl.SSLContext, authority: str) -> None:
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise Misuse(f"no certificates of an authority in {authority}: {error}") from error
