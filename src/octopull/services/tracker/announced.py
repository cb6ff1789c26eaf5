"""Whether an address that a host announces is its own."""

import ipaddress

from octopull.kernel.errors import Denied
from octopull.security.identity import CertificateNames


def check_own(host: str, names: CertificateNames | None, source: str) -> None:
    """Raises Denied: ``host`` is neither in a certificate of these ``names``, nor ``source``.

    ``source`` is the address that the connection comes from, empty if it has ended.
    """
    own = _addresses(source, *(names.addresses if names else ()))
    if _addresses(host) & own:
        return
    if names is None or not any(_is(host, name) for name in names.dns):
        raise Denied(
            "a host announces an address that its certificate names, or that it calls from",
            announced=host, calls_from=source,
        )  # fmt: skip


def _addresses(*written: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """However they are written: IPv6 has many ways, one of which is for IPv4."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for one in written:
        try:
            address = ipaddress.ip_address(one.partition("%")[0])
        except ValueError:
            continue  # A name.
        mapped = address.ipv4_mapped if address.version == 6 else None
        found.add(mapped or address)
    return found


def _is(host: str, name: str) -> bool:
    """Whether a certificate's ``name`` is that of ``host``; ``*`` stands for its first label."""
    host, name = host.lower().removesuffix("."), name.lower()
    if name.startswith("*."):
        host, name = host.partition(".")[2], name[2:]
    return bool(host) and host == name
