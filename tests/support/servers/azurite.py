"""Azure's blobs by azurite, Microsoft's own emulator, which checks signatures."""

import base64
import hashlib
import hmac
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import aiohttp
import pytest

from support.servers.programs import INSTALLED, Bucket, new_name, shared

ACCOUNT = "devstoreaccount1"
KEY = (
    # The emulator's, which everybody knows.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
SECRETS = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}
_PROGRAM = INSTALLED / "azurite/node_modules/azurite/dist/src/blob/main.js"


@asynccontextmanager
async def azurite() -> AsyncIterator[Bucket]:
    """A container."""
    node = shutil.which("node")
    if node is None or not _PROGRAM.exists():
        pytest.skip("azurite is not installed: scripts/install-servers, with npm")
    server = await shared(
        "azurite",
        lambda port, folder: (
            node, _PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent",
            "--location", folder, "--skipApiVersionCheck", "--disableTelemetry",
        ),
    )  # fmt: skip
    name, endpoint = new_name(), f"{server.url}/{ACCOUNT}"
    await _make(endpoint, name)
    yield Bucket("az", name, {"endpoint": endpoint}, SECRETS, server.folder)


async def _make(endpoint: str, name: str) -> None:
    """Create a container; "Authorize with Shared Key" of Azure's REST API."""
    ours = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in ours.items())]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"]
    key, said = base64.b64decode(KEY), "\n".join(lines).encode()
    signature = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    headers = {**ours, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.put(f"{endpoint}/{name}?restype=container", headers=headers) as answer,
    ):
        assert answer.status == 201, await answer.text()
