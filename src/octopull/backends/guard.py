"""Where an upstream may send us: not to this host, not to a cloud's metadata service.

Names are checked when they are resolved for a connection, so that a name cannot first point
elsewhere. An upstream that is such an address itself was chosen by the operator.
"""

import ipaddress
import re
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from octopull.kernel.errors import Unavailable

_METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*\.?", re.ASCII)


class Guard(AbstractResolver):
    """Admits addresses of the outside, and all that ``homes``, the upstream's hosts, stand for."""

    def __init__(self, *homes: str) -> None:
        self._homes = frozenset(home.lower() for home in homes)
        self._at_home = any(home == "localhost" or _is_loopback(home) for home in self._homes)
        self._inner: ThreadedResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host`` that may be called.

        Raises:
            OSError: there is none.

        """
        if self._inner is None:
            self._inner = ThreadedResolver()
        found = await self._inner.resolve(host, port, family)
        if host.lower() in self._homes:
            return found
        admitted = [one for one in found if not self._forbidden(one["host"])]
        if not admitted:
            raise OSError(None, f"an upstream may not send us to {host}")
        return admitted

    async def close(self) -> None:
        """Nothing is held."""

    def admits(self, url: URL) -> bool:
        """Whether ``url`` may be called as far as it tells; names are resolved later."""
        host = (url.host or "").lower()
        if url.scheme not in {"http", "https"} or not host or url.user is not None:
            return False
        return host in self._homes or not self._forbidden(host)

    def admits_secrets(self, url: URL) -> bool:
        """Whether credentials may go to ``url``: over TLS, to the upstream itself, or within us."""
        host = (url.host or "").lower()
        local = host == "localhost" or _is_loopback(host)
        return self.admits(url) and (url.scheme == "https" or host in self._homes or local)

    def redirected(self, url: URL, location: str | None) -> URL:
        """Where an answer of ``url`` sends us.

        Raises:
            Unavailable: nowhere, in clear after TLS, or where an upstream may not send us.

        """
        try:
            target = url.join(URL(location or "", encoded=True))
            usable = bool(location) and self.admits(target)
        except ValueError:
            usable = False
        if not usable:
            raise Unavailable("the upstream redirects to where it may not send us")
        if url.scheme == "https" and target.scheme != "https":
            raise Unavailable("the upstream redirects from https to http")
        return target

    def _forbidden(self, host: str) -> bool:
        if _NUMERIC.fullmatch(host) and _address(host) is None:
            return True  # Some resolvers read 127.1 or 0x7f000001 as addresses.
        address = _address(host)
        if address is None or (self._at_home and address.is_loopback):
            return False
        return (
            address.is_link_local
            or address.is_loopback
            or address.is_unspecified
            or address.is_multicast
            or address in _METADATA
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that ``host`` is, None if it is a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback
