"""The proxy's API to have images ready ahead of need (Kraken's paths), and to hear of pushes."""

import asyncio
from collections.abc import Collection

import msgspec
from aiohttp import web

from octopull.clients.preheats import PreheatClient
from octopull.kernel import documents
from octopull.kernel.errors import Fault, Misuse, NotFound, Unavailable, Unsupported
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.oci import notifications
from octopull.oci.image_names import readings
from octopull.oci.notifications import Pushed
from octopull.oci.upstreams import canonical
from octopull.placement.heartbeats import PLATFORMS_MAX, Preheat, check_platform
from octopull.runtime.tasks import Tasks
from octopull.services.proxy.prefetch import Prefetcher, Window

log = logs.get("proxy")
QUEUE_MAX = 1000
WORKERS = 2
TRIES = 3
PAUSE_S = 1.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a prefetch. ``agents`` are selectors of agents that are to fetch it, too."""

    tag: str
    trace_id: str = ""
    platforms: list[str] = []
    agents: dict[str, str] | list[dict[str, str]] | None = None
    min_blob_size: int = 0
    max_blob_size: int = Window().max


_ASKED = msgspec.json.Decoder(Asked)


class PrefetchApi:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, prefetcher: Prefetcher, preheats: PreheatClient, upstreams: Collection[str]
    ) -> None:
        self._prefetcher = prefetcher
        self._preheats = preheats
        self._upstreams = upstreams
        self._queue: asyncio.Queue[Pushed] = asyncio.Queue(QUEUE_MAX)

    def add_to(self, app: web.Application, tasks: Tasks) -> None:
        """Register every route; ``tasks`` owns those who work on what was notified."""
        app.add_routes(
            [
                web.post("/proxy/v1/registry/prefetch", self.prefetch),
                web.post("/proxy/v2/registry/prefetch", self.prefetch),
                web.post("/registry/notifications", self.notify),
            ]
        )
        for number in range(WORKERS):
            tasks.start(self._work(), f"prefetch {number}")

    async def prefetch(self, request: web.Request) -> web.Response:
        """Answer once the origins hold the image; and have agents fetch it, if that is asked."""
        asked = read(await request.read())
        names = readings(asked.tag, self._upstreams)
        selectors = [asked.agents] if isinstance(asked.agents, dict) else asked.agents
        trackers = self._preheats.members
        if selectors is not None and trackers.fixed and not trackers.hosts:
            raise Unsupported("this proxy knows no trackers: set proxy.trackers")
        repository, digest = await self._prefetcher.resolve(names)
        window = Window(asked.min_blob_size, asked.max_blob_size)
        held = await self._prefetcher.prefetch(repository, digest, asked.platforms, window)
        answer: dict[str, object] = {
            "tag": asked.tag,
            "trace_id": asked.trace_id,
            "prefetched": True,
            "status": "success",
            "message": f"the origins hold {len(held)} blobs",
            "repository": repository,
            "digest": str(digest),
            "bytes": sum(one.size for one in held),
            "blobs": [{"digest": str(one.digest), "size": one.size} for one in held],
        }
        if selectors is not None:
            preheat = Preheat(
                namespace=repository, digest=str(digest), platforms=asked.platforms,
                agents=[one for one in selectors if one],
            )  # fmt: skip
            answer["preheat"] = (await self._preheats.begin(preheat)).id
        return web.json_response(answer)

    async def notify(self, request: web.Request) -> web.Response:
        """Prefetch what a registry says was pushed, after the answer."""
        pushed = notifications.read(await request.read())
        if self._queue.qsize() + len(pushed) > QUEUE_MAX:
            raise Unavailable("too many images wait to be prefetched", most=QUEUE_MAX)
        for one in pushed:
            self._queue.put_nowait(one)
        return web.json_response({"accepted": len(pushed)}, status=202)

    async def _work(self) -> None:
        while True:
            pushed = await self._queue.get()
            fields = {
                "repository": pushed.repository,
                "digest": str(pushed.digest),
                "tag": pushed.tag,
            }
            try:
                await self._prefetch(pushed)
            except Fault as fault:
                log.warning("prefetch.failed", reason=str(fault), **fields)
            except Exception as error:
                # Top of the task: the next one must have its turn.
                log.exception("prefetch.broke", reason=repr(error), **fields)
            else:
                log.info("prefetch.done", **fields)

    async def _prefetch(self, pushed: Pushed) -> None:
        repository = canonical(pushed.repository, pushed.host, self._upstreams)
        for left in reversed(range(TRIES)):
            try:
                if pushed.digest is not None:
                    await self._prefetcher.prefetch(repository, pushed.digest)
                if pushed.tag:
                    # What a tag stands for is not collected as garbage.
                    name = TagName(repository, pushed.tag)
                    await self._prefetcher.prefetch(*await self._prefetcher.resolve([name]))
            except (Unavailable, NotFound):
                # A registry may tell of a push a moment before it can be pulled.
                if not left:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                return


def read(body: bytes) -> Asked:
    """A prefetch that makes sense.

    Raises:
        Misuse: anything else.

    """
    asked = documents.read(_ASKED.decode, body, "a prefetch")
    if not 0 <= asked.min_blob_size <= asked.max_blob_size <= Window().max:
        raise Misuse("sizes must satisfy 0 <= min_blob_size <= max_blob_size")
    if len(asked.platforms) > PLATFORMS_MAX or len(asked.trace_id) > 200:
        raise Misuse("too many platforms, or too long a trace_id", platforms_max=PLATFORMS_MAX)
    for platform in asked.platforms:
        check_platform(platform)
    return asked
