"""How a process opens lines to peers: in clear, or secure, by the certificates of then."""

import asyncio
import socket
import ssl

from octopull.observability import logs
from octopull.observability.rarely import Rarely
from octopull.runtime.host_names import HostNames
from octopull.security.handshaking import handshake
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading
from octopull.security.words import explain
from octopull.transport.line import Line, PlainLine, SecureLine

log = logs.get("transport")
REFUSED_EVERY_S = 60.0
"""How often the log tells why a host is not believed, or does not believe us."""


class Lines:
    """Makes lines of connected sockets; the deadline is the caller's. ``close`` it in the end."""

    def __init__(self, tls: Reloading[Mutual] | None) -> None:
        self._tls = tls
        self._rarely = Rarely(REFUSED_EVERY_S)
        self._names = HostNames()

    def close(self) -> None:
        """Dial no more by names; lines that are open go on."""
        self._names.close()

    async def answered(self, sock: socket.socket) -> Line:
        """With a stranger who dialled; the socket is the line's from now on.

        Raises:
            OSError: the connection broke, or a side did not believe the other.

        """
        _tune(sock)
        if self._tls is None:
            return PlainLine(sock)
        return await self._secured(sock, self._tls.current.greeting, server_side=True)

    async def dialed(self, host: str, port: int) -> Line:
        """With a peer that is there.

        Raises:
            OSError: nobody answers, a side did not believe the other, or too many names are
                looked up.
            ValueError: a host name that no resolver takes.

        """
        family, address = await self._names.find(host, port)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            _tune(sock)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        if self._tls is None:
            return PlainLine(sock)
        return await self._secured(sock, self._tls.current.dialing, server_side=False)

    async def _secured(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool
    ) -> Line:
        # Wrapping moves the file number: from then on the socket in hand is the secure one.
        held, where = sock, _where(sock)
        try:
            held = secure = context.wrap_socket(
                sock, server_side=server_side, do_handshake_on_connect=False
            )
            await handshake(secure)
        except BaseException as error:
            held.close()
            told = explain(error)
            if told and self._rarely.due(f"{where} {told}", asyncio.get_running_loop().time()):
                log.warning("peer.refused", peer=where, reason=told)
            raise
        return SecureLine(secure)


def _where(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
