"""Listening sockets for servers that accept by themselves."""

import socket

from octopull.kernel.errors import Unavailable

BACKLOG = 512


def listening(host: str, port: int) -> socket.socket:
    """A non-blocking socket to accept from; port 0 takes any free one.

    Raises:
        Unavailable: the address is taken or not ours.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error}") from error
    sock.setblocking(False)
    return sock
