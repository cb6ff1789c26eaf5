"""HTTP clients of many hosts at once, in one loop that throws away what it reads.

A client per process would take the processors that the contenders share. Here the kernel drops the
bytes of all but the first (MSG_TRUNC, tcp(7)), so that reading costs next to nothing.
"""

import hashlib
import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.lab import Host

READ_BYTES = 1 << 20


@dataclass
class _Client:
    """One GET; ``kept`` are the body's bytes if someone wants them."""

    link: socket.socket
    size: int
    kept: bytearray | None
    seconds: float = 0.0
    _head: bytearray = field(default_factory=bytearray)
    _got: int = -1

    def read(self, buffer: memoryview) -> bool:
        """Read what has come; whether it was the last byte."""
        if self._got < 0:
            self._read_head()
        elif self.kept is None:
            self._count(self.link.recv_into(buffer, 0, socket.MSG_TRUNC))
        else:
            count = self.link.recv_into(buffer)
            self.kept += buffer[:count]
            self._count(count)
        return self._got == self.size

    def _read_head(self) -> None:
        # Looked at first, so that the head is taken and none of the body.
        seen = self.link.recv(4096, socket.MSG_PEEK)
        end = seen.find(b"\r\n\r\n")
        # A head is short and sent whole; one in parts counts as none.
        if end < 0 or not seen.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"no answer: {seen[:400]!r}")
        if f"content-length: {self.size}\r\n".encode() not in seen[: end + 2].lower():
            raise RuntimeError(f"another size than {self.size}: {seen[:end]!r}")
        self.link.recv(end + 4)
        self._got = 0

    def _count(self, count: int) -> None:
        if not count:
            raise RuntimeError(f"the answer ended after {self._got} bytes of {self.size}")
        self._got += count


def pull_all(
    hosts: Sequence[Host], server: Callable[[Host], tuple[str, int]], path: str, digest: str,
    size: int, deadline_s: float,
) -> list[float]:  # fmt: skip
    """GET ``path`` from ``server`` of each host at the same moment; seconds to each last byte.

    Raises:
        RuntimeError: a client got less, or something else; or not until the deadline.

    """
    clients = []
    for number, host in enumerate(hosts):
        with host.inside():
            made = socket.socket()
        clients.append(_Client(made, size, bytearray() if number == 0 else None))
    started = time.monotonic()
    for client, host in zip(clients, hosts, strict=True):
        address = server(host)
        client.link.connect(address)
        client.link.sendall(_request(address, path))
    _read_all(clients, started, deadline_s)
    kept = clients[0].kept
    assert kept is not None
    if f"sha256:{hashlib.sha256(kept).hexdigest()}" != digest:
        raise RuntimeError(f"{hosts[0].name} got other bytes than {digest}")
    return [client.seconds for client in clients]


def _request(address: tuple[str, int], path: str) -> bytes:
    host, port = address
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def _read_all(clients: Sequence[_Client], started: float, deadline_s: float) -> None:
    buffer = memoryview(bytearray(READ_BYTES))
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.link, selectors.EVENT_READ, client)
        while selector.get_map():
            left_s = started + deadline_s - time.monotonic()
            ready = selector.select(max(left_s, 0))
            if not ready:
                raise RuntimeError(f"{len(selector.get_map())} hosts not done in {deadline_s} s")
            for key, _ in ready:
                if key.data.read(buffer):
                    key.data.seconds = time.monotonic() - started
                    selector.unregister(key.fileobj)
                    key.data.link.close()


def get_json(host: Host, address: tuple[str, int], path: str) -> dict[str, Any]:
    """A small document from a server that ``host`` reaches."""
    with host.inside(), socket.create_connection(address, 30) as made:
        made.sendall(_request(address, path))
        with made.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {head[:400]!r}")
    document: dict[str, Any] = json.loads(body)
    return document
