"""An S3 server for what is measured, and settings to speak to it: ours, and obstore's own."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.rivals import running
from octopull.config.backends import BackendSettings
from support.cluster import Process
from support.ports import free_port

RCLONE = Path(sys.executable).with_name("rclone")
BUCKET = "bench"
ROOT = "images"
KEY, SECRET = "bench", "bench-secret"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a running server, which keeps objects as files below ``files``."""

    endpoint: str
    files: Path
    credentials: Path

    @property
    def settings(self) -> BackendSettings:
        """As an origin would be told of it."""
        return BackendSettings(
            url=f"s3://{BUCKET}/{ROOT}", name="s3", credentials=str(self.credentials),
            options={"endpoint": self.endpoint, "region": "us-east-1"},
        )  # fmt: skip

    def url(self, file: Path) -> str:
        """Where curl has what lies in ``file``; the server asks readers for nothing."""
        return f"{self.endpoint}/{BUCKET}/{file.relative_to(self.files)}"


@contextmanager
def bucket(
    folder: Path, files: Path, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()
) -> Iterator[Bucket]:
    """``rclone serve s3`` over the folder that holds ``files``, its one bucket.

    It answers ranges with status 200, which obstore refuses: so nginx is before it, passes on what
    is written and listed, and serves objects itself. Neither asks for signatures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.mkdir(parents=True, exist_ok=True)
    credentials = folder / "s3.env"
    credentials.write_text(f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    credentials.chmod(0o600)
    inner, outer = (f"{host}:{free_port()}" for _ in range(2))
    words = (RCLONE, "serve", "s3", "--addr", inner, "--etag-hash", "",
             "--config", folder / "none", files.parent)  # fmt: skip
    front = folder / "front"
    front.mkdir()
    configured = front / "nginx.conf"
    configured.write_text(_front(front, files.parent, inner, outer))
    with (
        running(folder, f"http://{inner}", *prefix, *words),
        running(
            front, f"http://{outer}", *prefix, "nginx", "-c", configured, "-p", front
        ) as server,
    ):
        yield Bucket(server.url, files, credentials)


def _front(folder: Path, files: Path, inner: str, outer: str) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
        {user} worker_processes 2; daemon off; pid {folder}/nginx.pid;
        error_log {folder}/nginx.log crit;
        events {{ worker_connections 1024; }}
        http {{
            sendfile on; tcp_nopush on; access_log off; client_max_body_size 0; {temporary}
            server {{
                listen {outer}; root {files};
                location / {{
                    if ($request_method !~ "^(GET|HEAD)$") {{ return 418; }}
                    if ($args) {{ return 418; }}
                    error_page 418 = @rclone;
                }}
                location @rclone {{
                    proxy_pass http://{inner}; proxy_http_version 1.1;
                    proxy_set_header Host $http_host; proxy_set_header Connection "";
                    proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 600s;
                }}
            }}
        }}"""


@dataclass(frozen=True)
class Origin:
    """An origin alone, in a process of its own."""

    url: str
    pid: int


@contextmanager
def origin(folder: Path, backend: BackendSettings, **settings: object) -> Iterator[Origin]:
    """An origin that writes to ``backend`` and reads from it."""
    folder.mkdir(parents=True)
    port = free_port()
    section = {
        "data": str(folder / "data"),
        "replicas": 1,
        "listen": {"host": "127.0.0.1", "port": port},
        "backends": [{"url": backend.url, "name": backend.name, "options": backend.options,
                      "credentials": backend.credentials}],
        **settings,
    }  # fmt: skip
    config = folder / "origin.yaml"
    config.write_text(yaml.safe_dump({"origin": section}))
    process = Process(folder / "log", "origin", "--config", config)
    try:
        process.wait_for_text(f"origin listens on 127.0.0.1:{port}")
        yield Origin(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.stop()
