"""Follows the growing metainfo of a blob that its origin is still fetching."""

import asyncio

from octopull.clients.tracker import TrackerClient
from octopull.kernel.errors import Corrupt, Fault, NotFound, UpstreamFailed
from octopull.observability import logs
from octopull.services.agent.download import Download

log = logs.get("agent")
PAUSE_S = 1.0
"""After a question that was not answered."""


async def follow(download: Download, tracker: TrackerClient) -> None:
    """Until all hashes are known, or the download is over; it fails if the blob will not come."""
    digest, pause_s = download.outline.digest, 0.0
    while download.known < download.outline.layout.count and not download.over:
        await asyncio.sleep(pause_s)
        try:
            told, pause_s = await tracker.hashes(download.namespace, digest, download.known)
            for part in told:
                await download.learn(part)
        except (NotFound, UpstreamFailed, Corrupt) as fault:
            download.fail(fault)
        except Fault as fault:
            log.info("hashes.waiting", digest=digest.short, reason=str(fault))
            pause_s = PAUSE_S
