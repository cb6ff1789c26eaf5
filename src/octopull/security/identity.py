"""Who the other side of a TLS connection is, by the certificate that it proved to have."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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

    None, too, where the server did not ask, or the connection is gone or in clear.
    """
    shown = None if transport is None else transport.get_extra_info("peercert")
    return names_of(shown) if shown else None


def names_of(shown: Mapping[str, Any]) -> CertificateNames:
    """The names in a certificate as ``ssl.SSLSocket.getpeercert`` gives it."""
    found: dict[str, list[str]] = {field: [] for field in _KINDS.values()}
    for kind, name in shown.get("subjectAltName", ()):
        if kind in _KINDS:
            found[_KINDS[kind]].append(name)
    subject = [pair for part in shown.get("subject", ()) for pair in part]
    common = next((value for name, value in subject if name == "commonName"), "")
    return CertificateNames(common, **{field: tuple(names) for field, names in found.items()})
