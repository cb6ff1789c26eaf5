"""TLS contexts: which versions and which certificate."""

import ssl

from octopull.config.services import Tls
from octopull.kernel.errors import Misuse


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
    return context
