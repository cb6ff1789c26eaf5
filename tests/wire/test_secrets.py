"""What proves who somebody is appears nowhere else: not in logs, metrics, answers, or ``ps``."""

import base64
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import yaml

from support import access
from support.access import TOKEN, USERS, As, basic
from support.cluster import Process
from support.registry import Answer

PATHS = ("/v2/", "/v2/team/app/manifests/v1", "/v2/_catalog", "/token", "/metrics", "/status",
         "/v2/team/app/blobs/sha256:x", "/tags/team/app:v1", "/none")  # fmt: skip
WRONG = "wr0ng-but-a-secret-all-the-same"


def command_line(pid: int) -> str:
    """What ``ps`` shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def secrets(folder: Path) -> list[str]:
    """All that must not be seen, in each form in which it might be."""
    words = [WRONG, TOKEN, *(access.password(user) for user in USERS)]
    shown = [basic(user).split()[1] for user in USERS]
    files = [
        (folder / "access" / "htpasswd").read_text(),
        (folder / "data" / "token.key").read_text(),
    ]
    lines = [line.partition(":")[2] or line for file in files for line in file.splitlines()]
    hidden = [line for line in lines if line and not line.startswith("-----")]
    encoded = [base64.b64encode(f"alice:{WRONG}".encode()).decode()]
    return [*words, *shown, *hidden, *encoded, *(urlencode({"": word})[1:] for word in words)]


async def test_no_secret_is_in_logs_metrics_answers_or_command_lines(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    files = access.files(tmp_path / "access")
    settings = {**files, "token_service": {"key": "generate"}}
    (tmp_path / "access.yaml").write_text(yaml.safe_dump({"access": settings}))
    up = Process(
        tmp_path / "log", "up", "--port-base", "0", "--data", tmp_path / "data", "--agents", "1",
        "--ready-file", tmp_path / "ready", "--access", tmp_path / "access.yaml",
        "--log-level", "debug",
    )  # fmt: skip
    try:
        up.wait_for(tmp_path / "ready")
        places = yaml.safe_load((tmp_path / "ready").read_text())
        seen: list[str] = []
        for address in (places["proxy"], places["agents"][0]["http"]):
            seen += await everything(session, address)
        seen.append(command_line(up.pid))
        hidden = secrets(tmp_path)
    finally:
        assert up.stop() == 0
    seen.append((tmp_path / "log").read_text())
    assert "request.refused" in seen[-1]
    for secret in hidden:
        for text in seen:
            at = text.find(secret)
            assert at < 0, text[max(at - 200, 0) : at + 20]


async def everything(session: aiohttp.ClientSession, address: str) -> list[str]:
    """All answers to all that callers show, rightly and wrongly, but for tokens."""
    headers = [None, basic("alice"), basic("alice", WRONG), basic("root"), f"Bearer {TOKEN}",
               f"Bearer {WRONG}", f"Basic {WRONG}", f"{WRONG} {TOKEN}"]  # fmt: skip
    found: list[Answer] = [
        await As(session, address, header)(method, path, b"x")
        for header in headers
        for path in PATHS
        for method in ("GET", "PUT")
    ]
    form = urlencode({"grant_type": "password", "username": "alice", "password": WRONG}).encode()
    kind = "application/x-www-form-urlencoded"
    found.append(await As(session, address, None)("POST", "/token", form, Content_Type=kind))
    given = [one for one in found if b'"access_token"' not in one.body]
    assert {200, 401, 403} <= {one.status for one in given}
    return [f"{dict(one.headers)} {one.body.decode()}" for one in given]
