"""A real nginx: static files, and the same from a server that knows no ranges, or wants proof."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.ports import free_port
from support.waiting import until

USERNAME, PASSWORD, TOKEN = "reader", "hunter2-is-secret", "token-is-secret"
ATTEMPTS = 3
START_S = 20.0
_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/t1;
    proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port};
        location /files/ {{ alias {files}/; }}
        location /whole/ {{ alias {files}/; max_ranges 0; }}
        location /headless/ {{
            if ($request_method = HEAD) {{ return 405; }}
            alias {files}/;
        }}
        location /basic/ {{
            auth_basic files;
            auth_basic_user_file {folder}/users;
            alias {files}/;
        }}
        location /bearer/ {{
            if ($http_authorization != "Bearer {token}") {{ return 401; }}
            alias {files}/;
        }}
        location /forbidden/ {{ return 403; }}
        location /gone/ {{ return 410; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /files/$1 redirect; }}
        location /inside/ {{ return 302 http://169.254.169.254/latest/meta-data; }}
        location /round/ {{ return 302 /round/; }}
        location /busy/ {{
            add_header Retry-After 7 always;
            return 503;
        }}
        location /unsized/ {{
            # A filter on the way, and nobody knows the length beforehand.
            sub_filter_types *;
            sub_filter "no such words anywhere" "";
            alias {files}/;
        }}
        location /fetch {{ try_files /nowhere @fetch; }}
        location @fetch {{
            rewrite ^ /files/by-digest/$arg_digest? last;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """``url`` has no slash at its end; what is put into ``files`` is at ``/files/``."""

    url: str
    files: Path


@asynccontextmanager
async def nginx() -> AsyncIterator[Nginx]:
    """One with no files yet."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    with TemporaryDirectory(prefix="octopull-nginx-") as name:
        folder = Path(name)
        (folder / "files").mkdir()
        (folder / "users").write_text(f"{USERNAME}:{{PLAIN}}{PASSWORD}\n")
        for _ in range(ATTEMPTS):  # Somebody else may take the port that was free.
            port = free_port()
            text = _CONFIGURATION.format(
                folder=folder, files=folder / "files", port=port, token=TOKEN
            )
            (folder / "nginx.conf").write_text(text)
            process = await asyncio.create_subprocess_exec(
                program, "-p", name, "-c", str(folder / "nginx.conf"),
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                if await _listening(process, port):
                    yield Nginx(f"http://127.0.0.1:{port}", folder / "files")
                    return
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        pytest.fail((folder / "error.log").read_text())


async def _listening(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether it serves, rather than ends."""

    async def settled() -> bool:
        if process.returncode is not None:
            return True
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await until(settled, START_S)
    return process.returncode is None
