"""S3 by ``rclone serve s3`` over a folder. It checks signatures, and knows no conditional puts.

It answers a range with the right bytes but with status 200, for which obstore will not take it,
so a front says 206. It has no ETags, which would have it read each file again for each answer.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from support.servers.front import behind, front
from support.servers.programs import Bucket, from_environment, shared

KEY, SECRET = "tester", "rclone-secret"
SECRETS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


BUCKETS_MAX = 1000
_numbers = itertools.count()


def _command(port: int, folder: Path) -> tuple[str | Path, ...]:
    # It would look for new ones every five minutes.
    for number in range(BUCKETS_MAX):
        (folder / f"files/bucket-{number}").mkdir(parents=True)
    return (
        from_environment("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{KEY},{SECRET}", "--etag-hash", "", "--config", folder / "none",
        folder / "files",
    )  # fmt: skip


@asynccontextmanager
async def rclone() -> AsyncIterator[Bucket]:
    """A bucket."""
    server = await shared("rclone", _command)
    async with behind(server.url) as real:

        def partial(answer: web.StreamResponse) -> None:
            if answer.status == 200 and "Content-Range" in answer.headers:
                answer.set_status(206)

        async with front(lambda request: real.pass_on(request, partial)) as url:
            options = {"endpoint": url, "region": "us-east-1", "conditional_put": "false"}
            yield Bucket("s3", f"bucket-{next(_numbers)}", options, SECRETS, server.folder)
