"""Three tag indexes that share a book: any of them may die, lose its disk, or hang."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.kernel.names import TagName
from support.agreeing import leader, state
from support.chaos.forks import Forks
from support.ports import free_port, free_ports
from support.production import LOOPBACK, Node
from support.registry import manifest
from support.waiting import until

REPOSITORY = "team/app"
SOON_S = 30.0


class Indexes:
    """An origin, and tag indexes before it."""

    def __init__(self, folder: Path, http: Http, forks: Forks) -> None:
        self.http = http
        self._forks = forks
        self._folder = folder
        self.origin = self._node("origin", 0, free_port(), {})
        self.origin.settings |= {
            "name": self.origin.address, "origins": [self.origin.address], "replicas": 1,
            "peer": {"listen": {"host": LOOPBACK, "port": free_port()}},
        }  # fmt: skip
        self.ports = free_ports(3)
        self.hosts = [f"{LOOPBACK}:{port}" for port in self.ports]
        self.nodes = [self._index(number, shared=True) for number in range(3)]
        self.client = TagIndex(http, self.hosts)

    def _node(self, verb: str, number: int, port: int, settings: dict[str, Any]) -> Node:
        own = self._folder / f"{verb}-{number}"
        listen = {"host": LOOPBACK, "port": port}
        settings = {"data": str(own / "data"), "listen": listen, **settings}
        launch = self._forks.place(verb).launch
        return Node(verb, f"{LOOPBACK}:{port}", own, settings, launch)

    def _index(self, number: int, *, shared: bool) -> Node:
        group = {"name": self.hosts[number], "tag_indexes": self.hosts} if shared else {}
        settings = {"origins": [self.origin.address], "replicas": 1, **group}
        return self._node("tag-index", number, self.ports[number], settings)

    def alone(self) -> Node:
        """The first of them, as it is before there are others."""
        return self._index(0, shared=False)

    async def start(self, *nodes: Node) -> None:
        for node in nodes:
            node.start()
        await asyncio.gather(*(node.ready(self.http) for node in nodes))

    async def image(self, number: int) -> Digest:
        """A manifest that can be tagged."""
        content = manifest(b"{}", annotations={"number": str(number)})
        origins = OriginCluster(self.http, [self.origin.address], 1)
        for blob in (b"{}", content):
            await origins.uploads.push(REPOSITORY, Digest.of(blob), blob)
        return Digest.of(content)

    async def leader(self) -> Node:
        """The one that leads; waits until there is one."""
        return await leader(self.http, self.nodes)

    async def put(self, tag: str, digest: Digest) -> None:
        await self.client.record(REPOSITORY, digest, [tag])

    async def seen_by(self, node: Node, tag: str) -> Digest:
        """What ``node`` itself says."""
        return await TagIndex(self.http, [node.address]).resolve(TagName(REPOSITORY, tag))


@pytest.fixture
async def indexes(tmp_path: Path, http: Http, forks: Forks) -> AsyncIterator[Indexes]:
    found = Indexes(tmp_path, http, forks)
    try:
        await found.start(found.origin)
        yield found
    finally:
        for node in (*found.nodes, found.origin):
            node.stop()


async def test_each_shows_what_was_put_through_another(indexes: Indexes) -> None:
    await indexes.start(*indexes.nodes)
    await indexes.leader()
    for number, node in enumerate(indexes.nodes):
        digest = await indexes.image(number)
        await TagIndex(indexes.http, [node.address]).record(REPOSITORY, digest, ["v1"])
        assert [await indexes.seen_by(one, "v1") for one in indexes.nodes] == [digest] * 3
    await TagIndex(indexes.http, indexes.hosts[1:2]).delete_tag(TagName(REPOSITORY, "v1"))
    for node in indexes.nodes:
        with pytest.raises(NotFound):
            await indexes.seen_by(node, "v1")


async def test_each_of_them_may_be_killed_and_lose_its_disk(indexes: Indexes) -> None:
    await indexes.start(*indexes.nodes)
    digests: dict[str, Digest] = {}
    for number, node in enumerate(indexes.nodes):
        digests[f"before-{number}"] = await indexes.image(number)
        await indexes.put(f"before-{number}", digests[f"before-{number}"])
        node.kill()
        digests[f"during-{number}"] = await indexes.image(10 + number)
        await indexes.put(f"during-{number}", digests[f"during-{number}"])
        node.wipe()
        await indexes.start(node)
        for tag, digest in digests.items():
            assert await indexes.seen_by(node, tag) == digest
        await counts(indexes, node)


async def test_one_that_is_stopped_in_order_has_another_lead_before_it_ends(
    indexes: Indexes,
) -> None:
    await indexes.start(*indexes.nodes)
    led = await indexes.leader()
    others = [node for node in indexes.nodes if node is not led]
    await asyncio.to_thread(led.stop)
    named = [(await state(indexes.http, other))["leader"] for other in others]
    (leads,) = {other.address for other in others}.intersection(named)

    async def heard() -> bool:
        return all([(await state(indexes.http, other))["leader"] == leads for other in others])

    await until(heard, SOON_S)
    digest = await indexes.image(1)
    await indexes.put("v1", digest)
    for other in others:
        assert await indexes.seen_by(other, "v1") == digest


async def counts(indexes: Indexes, node: Node) -> None:
    """Until ``node`` would be of use if another died."""

    async def told() -> bool:
        return bool((await state(indexes.http, node))["counts"])

    await until(told, SOON_S)


async def test_one_that_was_alone_brings_its_book_along(indexes: Indexes) -> None:
    alone = indexes.alone()
    await indexes.start(alone)
    digest = await indexes.image(1)
    await TagIndex(indexes.http, [alone.address]).record(REPOSITORY, digest, ["v1"])
    alone.stop()
    await indexes.start(*indexes.nodes)
    for node in indexes.nodes:
        assert await indexes.seen_by(node, "v1") == digest
    indexes.nodes[0].kill()
    assert await indexes.seen_by(indexes.nodes[1], "v1") == digest


async def test_two_of_three_are_needed(indexes: Indexes) -> None:
    await indexes.start(*indexes.nodes)
    digest = await indexes.image(1)
    await indexes.put("v1", digest)
    indexes.nodes[0].kill()
    indexes.nodes[1].kill()
    with pytest.raises(Unavailable, match="no majority"):
        await indexes.seen_by(indexes.nodes[2], "v1")
    await indexes.start(indexes.nodes[0])
    assert await indexes.seen_by(indexes.nodes[2], "v1") == digest


async def test_one_that_hung_while_it_led_shows_nothing_old(indexes: Indexes) -> None:
    await indexes.start(*indexes.nodes)
    first, second = await indexes.image(1), await indexes.image(2)
    await indexes.put("v1", first)
    hung = await indexes.leader()
    others = [node for node in indexes.nodes if node is not hung]
    os.kill(hung.pid, signal.SIGSTOP)
    await TagIndex(indexes.http, [node.address for node in others]).record(
        REPOSITORY, second, ["v1"]
    )
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(indexes.seen_by(hung, "v1")) for _ in range(20)]
        os.kill(hung.pid, signal.SIGCONT)
    assert {task.result() for task in asked} == {second}


async def test_nothing_that_was_answered_is_lost_while_they_die_by_turns(
    indexes: Indexes,
) -> None:
    await indexes.start(*indexes.nodes)
    random = Random(7)
    images = [await indexes.image(number) for number in range(10)]
    put: dict[str, Digest] = {}
    ended = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not ended.is_set():
            tag, digest = f"t-{writer}-{number}", random.choice(images)
            with suppress(Unavailable):
                await indexes.put(tag, digest)
                put[tag] = digest
            number += 1

    async with asyncio.TaskGroup() as group:
        for writer in range(3):
            group.create_task(write(writer))
        for _ in range(3):
            before = len(put)
            node = random.choice([await indexes.leader(), random.choice(indexes.nodes)])
            node.kill()

            async def more(before: int = before) -> bool:
                return len(put) > before + 5

            await until(more, SOON_S)
            await indexes.start(node)
        ended.set()
    for tag, digest in put.items():
        assert await indexes.seen_by(random.choice(indexes.nodes), tag) == digest


async def test_whichever_is_asked_answers_as_the_one_that_leads_would(indexes: Indexes) -> None:
    await indexes.start(*indexes.nodes)
    await indexes.put("v1", await indexes.image(1))
    paths = f"/tags/{REPOSITORY}%3Av1", f"/repositories/{REPOSITORY}/tags?n=1&last=%20", "/none"
    for method in ("GET", "HEAD"):
        for path in paths:
            told = set()
            for node in indexes.nodes:
                async with indexes.http.exchange(method, f"http://{node.address}{path}") as answer:
                    length = answer.headers.get("Content-Length")
                    told.add((answer.status, length, answer.content_type, await answer.read()))
            assert len(told) == 1, told
