"""What a remote is told by one who may no longer be the one to tell it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.config.replication import RemoteSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import parse
from octopull.replication.remote import Remote, opened_remote
from octopull.replication.rules import Route
from octopull.replication.rules_file import RulesFile
from octopull.replication.telling import Outcome
from octopull.services.tag_index.replicated_book import ReplicatedBook
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote
from support.images import Image, image, push
from support.registry import Registry
from support.replicating import remote, rules

NAME = TagName("team/app", "v1")
ALL = Route(deletes=True, referrers=True)
Confirm = Callable[[], Awaitable[None]]


def record(store: TagStore, one: Image) -> None:
    """As a tag index does that heard of the push."""
    digest = Digest.of(one.manifest)
    manifest = Pushed(digest, len(one.manifest), parse(one.manifest, None))
    store.record(NAME.repository, manifest, [], [NAME.tag])


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Cluster, Cluster]]:
    ports = Ports(0, "127.0.0.1")
    async with (
        running(tmp_path / "here", 0, ports) as here,
        running(tmp_path / "there", 0, ports) as there,
    ):
        yield here, there


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    one = TagStore(tmp_path / "book.sqlite")
    yield one
    one.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@asynccontextmanager
async def telling(
    http: Http, sites: tuple[Cluster, Cluster], store: TagStore, path: Path, confirm: Confirm
) -> AsyncIterator[Remote]:
    """The second of ``sites`` as a remote, told by a book of the first one's images."""
    here, there = sites
    to = remote("there", f"http://{there.proxy.address}")
    async with opened_remote(
        RemoteSettings(**to), RulesFile(rules(path, to)), lane_of_remote("there"),
        OriginCluster(http, [here.origin.address], 1), ReplicatedBook(store, confirm), store.tasks,
    ) as one:  # fmt: skip
        yield one


async def test_who_leads_no_more_changes_nothing_at_the_remote(
    http: Http, session: aiohttp.ClientSession, sites: tuple[Cluster, Cluster], store: TagStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    pushed = image(1, 1000)
    for site in sites:
        await push(Registry(session, site.proxy.address), NAME.repository, "other", pushed)
    await push(Registry(session, sites[0].proxy.address), NAME.repository, NAME.tag, pushed)
    record(store, pushed)

    async def refuse() -> None:
        raise Unavailable("another leads")

    async with telling(http, sites, store, tmp_path / "rules.yaml", refuse) as one:
        with pytest.raises(Unavailable, match="another leads"):
            await one.telling.tag(NAME, ALL)
        assert await one.telling.stands_for(NAME) is None
        store.delete_tag(NAME)
        gone = TagName(NAME.repository, "other")
        with pytest.raises(Unavailable, match="another leads"):
            await one.telling.manifest(NAME.repository, Digest.of(pushed.manifest), ALL)
        assert await one.telling.stands_for(gone) is not None


async def test_what_moved_on_while_it_was_copied_is_not_told(
    http: Http, session: aiohttp.ClientSession, sites: tuple[Cluster, Cluster], store: TagStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    first, second = image(1, 1000), image(2, 1000)
    for pushed in (first, second):
        await push(Registry(session, sites[0].proxy.address), NAME.repository, NAME.tag, pushed)
    record(store, first)

    async def move_on() -> None:
        record(store, second)

    async with telling(http, sites, store, tmp_path / "rules.yaml", move_on) as one:
        assert await one.telling.tag(NAME, ALL) == Outcome.SKIPPED
        assert await one.telling.stands_for(NAME) is None
        assert await one.telling.tag(NAME, ALL) == Outcome.COPIED
        assert await one.telling.stands_for(NAME) == Digest.of(second.manifest)
