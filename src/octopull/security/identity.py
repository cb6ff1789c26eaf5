"""Who the other side of a TLS connection is, by the certificate that it proved to have."""

import asyncio
import functools
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """The names in a certificate whose chain was proven; only those that it has."""

    common: str = ""
    """The subject's common name: what people call it."""
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


_KINDS = {"DNS": "dns", "IP Address": "addresses", "URI": "uris", "email": "emails"}


def caller_certificate(transport: asyncio.BaseTransport | None) -> CertificateNames | None:
    """The names of the caller behind ``transport``, such as a request's; None if it proved none.

    None, too, where the server did not ask, or the connection is gone or in clear; and once the
    certificate has ended, however long ago the connection began.
    """
    shown = None if transport is None else transport.get_extra_info("peercert")
    if not shown or _ends_at(shown["notAfter"]) <= time.time():
        return None
    return names_of(shown)


@functools.lru_cache(1024)
def _ends_at(not_after: str) -> float:
    return ssl.cert_time_to_seconds(not_after)


def proven_by(sock: ssl.SSLSocket) -> bytes:
    """The authority, in DER, that proved the other side's certificate; empty if it showed none."""
    if not sock.getpeercert():
        return b""
    if sys.version_info >= (3, 13):
        return next(reversed(sock.get_verified_chain()), b"")
    # Older ones know it, too, and don't say so in public; a session that was resumed has none.
    chain = cast("Any", sock)._sslobj.get_verified_chain()  # noqa: SLF001
    return ssl.PEM_cert_to_DER_cert(chain[-1].public_bytes()) if chain else b""


def names_of(shown: Mapping[str, Any]) -> CertificateNames:
    """The names in a certificate as ``ssl.SSLSocket.getpeercert`` gives it."""
    found: dict[str, list[str]] = {field: [] for field in _KINDS.values()}
    for kind, name in shown.get("subjectAltName", ()):
        if kind in _KINDS:
            found[_KINDS[kind]].append(name)
    subject = [pair for part in shown.get("subject", ()) for pair in part]
    common = next((value for name, value in subject if name == "commonName"), "")
    return CertificateNames(common, **{field: tuple(names) for field, names in found.items()})
