"""S3 by versitygw over a folder: it checks signatures, and knows ranges and conditional puts."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.servers.programs import INSTALLED, Bucket, shared

KEY, SECRET = "tester", "versity-secret"
SECRETS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
_PROGRAM = INSTALLED / "versitygw"
_numbers = itertools.count()


def _command(port: int, folder: Path) -> tuple[str | Path, ...]:
    (folder / "buckets").mkdir(exist_ok=True)
    (folder / "sidecar").mkdir(exist_ok=True)  # Not every file system of /tmp has attributes.
    return (
        _PROGRAM, "--port", f"127.0.0.1:{port}", "--access", KEY, "--secret", SECRET, "--quiet",
        "posix", "--sidecar", folder / "sidecar", folder / "buckets",
    )  # fmt: skip


@asynccontextmanager
async def versity() -> AsyncIterator[Bucket]:
    """A bucket."""
    if not _PROGRAM.exists():
        pytest.skip("versitygw is not installed: OCTOPULL_LARGE=1 scripts/install-servers, with go")
    server = await shared("versity", _command)
    name = f"bucket-{next(_numbers)}"
    (server.folder / "buckets" / name).mkdir()
    options = {"endpoint": server.url, "region": "us-east-1"}
    yield Bucket("s3", name, options, SECRETS, server.folder)
