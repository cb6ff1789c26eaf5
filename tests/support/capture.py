"""What crosses this machine's loopback, as anybody sees it who listens on the wire. For root."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ALL = 0x0003
READ_BYTES = 70_000
ROOM_BYTES = 64 * 1024 * 1024
SO_RCVBUFFORCE = 33
LATE_S = 2.0
"""How long what was sent may take to be looked at."""


class Seen:
    """TCP payloads to and from one address, by the ports that they come from and go to."""

    def __init__(self, address: str, marks: dict[str, bytes]) -> None:
        self._address = socket.inet_aton(address)
        self._marks = marks
        self.found: dict[str, set[int]] = {name: set() for name in marks}
        """For each of the marks the ports whose packets had it."""
        self.bytes = 0

    def look(self, packet: bytes) -> None:
        """Ethernet, IPv4 and TCP; anything else is no traffic of ours."""
        if self._address not in {packet[26:30], packet[30:34]}:
            return
        if packet[12:14] != b"\x08\x00" or packet[23] != socket.IPPROTO_TCP:
            return
        start = 14 + (packet[14] & 0xF) * 4
        ports = struct.unpack_from("!HH", packet, start)
        payload = packet[start + (packet[start + 12] >> 4) * 4 :]
        self.bytes += len(payload)
        for name, mark in self._marks.items():
            if mark in payload:
                self.found[name].update(ports)


@contextmanager
def capturing(address: str, marks: dict[str, bytes]) -> Iterator[Seen]:
    """Look at the packets of ``address`` until the block ends."""
    seen, stop = Seen(address, marks), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as sock:
        sock.bind(("lo", ALL))
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)
        sock.settimeout(0.1)

        def read() -> None:
            ends = float("inf")
            # Others have traffic, too, and may never pause.
            while time.monotonic() < ends:
                if stop.is_set():
                    ends = min(ends, time.monotonic() + LATE_S)
                try:
                    seen.look(sock.recv(READ_BYTES))
                except TimeoutError:
                    if stop.is_set():
                        return

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()


def listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    return {
        int(one[1].rpartition(":")[2], 16) for one in fields if one[3] == "0A" and one[9] in inodes
    }
