"""What a user would run instead: nginx and Debian's docker-registry, each in a process of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ports import free_port

START_S = 20.0


@dataclass(frozen=True)
class Rival:
    """A running rival: where it listens, and its root process."""

    url: str
    pid: int


def lacking(*commands: str) -> list[str]:
    """Those of ``commands`` that this machine has not."""
    return [command for command in commands if shutil.which(command) is None]


@contextmanager
def nginx(
    folder: Path, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None
) -> Iterator[Rival]:
    """nginx with sendfile, serving ``folder / "files"``; one worker per core, as Debian sets it."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    port = free_port(host)
    secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    path = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    path.write_text(f"""
        {user} worker_processes auto; daemon off; pid {folder}/nginx.pid;
        error_log {folder}/nginx.log warn;
        events {{ worker_connections 1024; }}
        http {{
            sendfile on; tcp_nopush on; access_log off;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            server {{ listen {host}:{port} {"ssl" if tls else ""}; {secure} root {files}; }}
        }}""")
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    with running(folder, url, "nginx", "-c", path, "-p", folder) as rival:
        yield rival


@contextmanager
def docker_registry(folder: Path) -> Iterator[Rival]:
    """docker-registry on the file system, as Debian ships it but for the addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    path = folder / "registry.yml"
    path.write_text(f"""
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {folder}/data}}
http: {{addr: "127.0.0.1:{port}"}}
""")
    with running(folder, f"http://127.0.0.1:{port}", "docker-registry", "serve", path) as rival:
        yield rival


@contextmanager
def redis(folder: Path) -> Iterator[Rival]:
    """Debian's Redis, in memory alone; no rival, but what trackers share."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    with running(folder, f"redis://127.0.0.1:{port}", "redis-server", *words) as one:
        yield one


@contextmanager
def running(folder: Path, url: str, *words: str | Path) -> Iterator[Rival]:
    """A server in a process of its own, from the moment it takes connections."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log)
    try:
        _await(url, process, folder / "log")
        yield Rival(url, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    host, _, port = url.partition("://")[2].partition(":")
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
