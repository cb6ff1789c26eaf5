"""Wires a tag index: its store, the origins it asks, and its HTTP API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from octopull.backends import registry
from octopull.backends.tag_opening import opened_tags
from octopull.clients.directory import Directory
from octopull.clients.keeping import AllOriginBlobs
from octopull.clients.membership import Watch
from octopull.clients.origin import OriginCluster
from octopull.config.services import TagIndexConfig
from octopull.config.upstreams import names_of
from octopull.http.addresses import addresses_by
from octopull.http.client import among_services
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.names import TagName
from octopull.replication.rules_file import RulesFile
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role
from octopull.services.tag_index.agreement import Agreement
from octopull.services.tag_index.agreement_api import AgreementApi
from octopull.services.tag_index.api import Api
from octopull.services.tag_index.collecting import CollectionApi
from octopull.services.tag_index.collector import Collector, collect_every
from octopull.services.tag_index.followed_tags import FollowedTags
from octopull.services.tag_index.listings import Listings
from octopull.services.tag_index.measuring import Measuring, QuotaFile
from octopull.services.tag_index.outbox import MESSAGES_BYTES_MAX
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.quota_api import QuotaApi
from octopull.services.tag_index.quota_book import Counted
from octopull.services.tag_index.replication import Replication
from octopull.services.tag_index.replication_api import ReplicationApi
from octopull.services.tag_index.repositories import Repositories
from octopull.services.tag_index.sharing import lead_by_turns, shared
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.tag_sources import TagSources
from octopull.services.tag_index.tag_write_back import TagWriteBack

PATIENCE_S = 60.0
"""How long replication waits for a sign that a blob is on its way from a backend."""


@dataclass(frozen=True, slots=True)
class Book:
    """What a tag index answers from: its store, where tags come from besides, who gets copies, and
    how much may be pushed.
    """

    store: TagStore
    sources: TagSources
    rules: RulesFile
    quotas: QuotaFile


Lead = Callable[[Tasks], Awaitable[None]]


async def run(
    config: TagIndexConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address or the data folder can't be had.
        Misuse: the file of rules for replication is wrong, or that of quotas, or one of ``tls`` is.

    """
    rules, quotas, resolver = (
        await asyncio.to_thread(RulesFile, config.replication),
        await asyncio.to_thread(QuotaFile, config.quotas),
        addresses_by(config.dns, config.origins),
    )
    async with (
        among_services(Role.TAG_INDEX, config.tls, resolver) as (tls, http),
        registry.connected(config.upstreams) as upstreams,
        opened_tags(config.tag_backends) as backends,
        _opened(config, TagSources(upstreams, backends), rules, quotas) as book,
        shared(config, http.to(Role.TAG_INDEX), book.store) as sharing,
        Tasks() as tasks,
    ):
        # Whoever comes to lead goes by the rules as they are then.
        tasks.start(rules.follow(), "follow the rules")
        tasks.start(quotas.follow(), "follow the quotas")
        app = application("tag_index", body_bytes_max=MESSAGES_BYTES_MAX)
        directory = Directory(config.dns, config.health.hysteresis)
        members = directory.members("origins", config.origins, config.weights, settles=True)
        cluster = partial(OriginCluster, http.to(Role.ORIGIN), members, config.replicas)
        watch = Watch("tag_index", directory.clusters, config.health, http)
        watch.add_to(app)
        tasks.start(watch.run(), "check health")
        checks = [cluster().ready]
        blobs = AllOriginBlobs(http.to(Role.ORIGIN), members, book.store.book)
        lead = _add_to(app, config, cluster, blobs, book, sharing, tasks)
        await directory.follow(tasks)
        if sharing is not None:
            api = AgreementApi(sharing, http.to(Role.TAG_INDEX), Path(config.data))
            api.add_to(app)
            checks.append(api.ready)
        async with (
            # Collecting ends before pushes that are under way are broken off.
            serve(app, "tag_index", config.listen, checks, tls) as listening,
            Tasks() as leading,
        ):
            if sharing is None:
                await lead(leading)
            else:
                leading.start(lead_by_turns(sharing, book.store, lead), "lead")
            started(listening)
            await stop.wait()
            if sharing is not None:
                await sharing.hand_over()


def _add_to(
    app: web.Application, config: TagIndexConfig, cluster: Callable[..., OriginCluster],
    blobs: AllOriginBlobs, book: Book, sharing: Agreement | None, tasks: Tasks,
) -> Lead:  # fmt: skip
    """Register all that a tag index answers; returns what starts what one alone must do.

    ``cluster`` makes a client of the origins, for one purpose or another.
    """
    store, sources = book.store, book.sources
    upstreams = names_of(config.upstreams)
    origins = cluster(store.book)
    pushes = Pushes()
    confirm = None if sharing is None else sharing.current
    collector = Collector(store, pushes, blobs, confirm)
    followed = FollowedTags(store, cluster(upstreams=upstreams), origins, sources, tasks)
    listings = Listings(tasks)

    def told(name: TagName) -> None:
        followed.changed(name)
        listings.told(name)

    write_back = TagWriteBack(store, sources, told, confirm)
    patient = cluster(upstreams=upstreams, patience_s=PATIENCE_S)
    replication = Replication(store, book.rules, patient, confirm)
    repositories = Repositories(store, sources, listings)
    Api(store, origins, pushes, followed, repositories, write_back).add_to(app)
    CollectionApi(collector, config.gc).add_to(app)
    ReplicationApi(replication).add_to(app)
    measuring = Measuring(store.quotas, store.database, origins, config.quotas.measure_s)
    QuotaApi(store.quotas, measuring).add_to(app)

    async def lead(tasks: Tasks) -> None:
        followed.forget()
        listings.forget()
        await write_back.start(tasks)
        await replication.start(tasks)
        await measuring.start(tasks)
        if config.gc.every_s > 0:
            again = collect_every(collector, config.gc.every_s, config.gc.grace_s)
            tasks.start(again, "collect garbage")

    return lead


@asynccontextmanager
async def _opened(
    config: TagIndexConfig, sources: TagSources, rules: RulesFile, quotas: QuotaFile
) -> AsyncIterator[Book]:
    path = Path(config.data) / "repositories.sqlite"
    counted = Counted(lambda: quotas.now, sources.upstream)
    store = await asyncio.to_thread(
        TagStore, path, sources.lane_of, rules.remotes_of, counted=counted
    )
    try:
        yield Book(store, sources, rules, quotas)
    finally:
        store.close()
