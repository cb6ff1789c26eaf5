"""A real DNS server, and a zone that changes: Debian's dnsmasq."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import free_port

PROGRAM = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin")
ZONE = "octopull.test"
TTL_S = 1

needs_dnsmasq = pytest.mark.skipif(PROGRAM is None, reason="no dnsmasq here: DNS is not shown")


class Dns:
    """Serves ``ZONE`` from loopback, with the records that it was last told of."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        """Its address and port."""
        return f"127.0.0.1:{self._port}"

    @staticmethod
    def host(name: str, *addresses: str) -> list[str]:
        """Address records."""
        return [f"host-record={name}.{ZONE},{address}" for address in addresses]

    @staticmethod
    def service(name: str, target: str, priority: int = 0, weight: int = 0) -> str:
        """A service record; ``target`` is a host and port."""
        host, _, port = target.rpartition(":")
        return f"srv-host={name}.{ZONE},{host},{port},{priority},{weight}"

    def serve(self, *records: str | Sequence[str]) -> None:
        """Serve ``records`` alone from now on."""
        self.stop()
        lines = [line for one in records for line in ([one] if isinstance(one, str) else one)]
        config = self._folder / "dnsmasq.conf"
        told = [
            f"port={self._port}", "listen-address=127.0.0.1", "bind-interfaces", "no-resolv",
            "no-hosts", "keep-in-foreground", "log-facility=-", "user=", "pid-file=",
            f"local=/{ZONE}/", f"local-ttl={TTL_S}", *lines,
        ]  # fmt: skip
        config.write_text("\n".join([*told, ""]))
        with (self._folder / "dnsmasq.log").open("ab") as log:
            assert PROGRAM is not None
            self._popen = subprocess.Popen([PROGRAM, f"--conf-file={config}"], stderr=log)
        self._wait()

    def _wait(self) -> None:
        """Until it takes connections; it takes questions by then."""
        assert self._popen is not None
        while True:
            assert self._popen.poll() is None, (self._folder / "dnsmasq.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
            except ConnectionRefusedError:
                continue
            return

    def stop(self) -> None:
        """Answer nobody."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None


@contextmanager
def dnsmasq(folder: Path) -> Iterator[Dns]:
    """One that does not serve yet."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Dns(folder)
    try:
        yield one
    finally:
        one.stop()
