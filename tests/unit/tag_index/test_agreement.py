"""Three books that agree, in one process: what a failing disk, or too much at once, does to them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopull.consensus.messages import Message
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import TooLarge, Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import Manifest, MediaType
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index import agreement
from octopull.services.tag_index.agreement import Agreement
from octopull.services.tag_index.database import Database
from octopull.services.tag_index.outbox import Outbox
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.storage.group_log import GroupLog
from support.waiting import until

NAMES = ["a", "b", "c"]
NAME = TagName("team/app", "v1")
SOON_S = 20.0


class Post(Outbox):
    """Brings messages to members of the same process."""

    def __init__(self, members: "Members", name: str, tasks: Tasks, folder: Path) -> None:
        super().__init__(Http(), name, [], tasks, folder)
        self._members = members
        self._name = name

    def put(self, peer: str, message: Message) -> None:
        if peer in self._members.agreements and self._name not in self._members.cut:
            self._members.agreements[peer].receive(self._name, [message])

    def send_book(self, peer: str, term: int, database: Database) -> None:
        del peer, term, database
        raise AssertionError("nobody was away for long")


class Members:
    """Each with a book, a log, and a disk that fails as long as it is told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cut: set[str] = set()
        self.failing: set[str] = set()
        self.stores: dict[str, TagStore] = {}
        self.agreements: dict[str, Agreement] = {}

    def add(self, name: str, tasks: Tasks) -> None:
        folder = self._folder / name
        store = TagStore(folder / "book.sqlite")
        kept = Failing(folder / "agreement.sqlite", name, self.failing)
        post = Post(self, name, tasks, folder)
        others = [other for other in NAMES if other != name]
        self.stores[name] = store
        self.agreements[name] = Agreement(name, others, store.database, kept, post)
        tasks.start(self.agreements[name].run(), name)

    async def leader(self, *but: str) -> str:
        """Who leads, once it does."""
        found: list[str] = []

        async def leads() -> bool:
            found[:] = [
                name for name, one in self.agreements.items() if one.leads and name not in but
            ]
            return bool(found)

        await until(leads, SOON_S)
        return found[0]

    async def put(self, name: str, tag: str, pushed: Pushed) -> None:
        await asyncio.to_thread(self.stores[name].record, "team/app", pushed, [], [tag])

    async def agree(self, tag: str, digest: Digest) -> None:
        """Until all books say so."""
        there = TagName("team/app", tag)

        async def holds() -> bool:
            return all(store.standing(there).digest == digest for store in self.stores.values())

        await until(holds, SOON_S)


class Failing(GroupLog):
    """A log on a disk that is full, at times."""

    def __init__(self, path: Path, name: str, failing: set[str]) -> None:
        self._name, self._failing = name, failing
        super().__init__(path)

    def carry_out(self, commands: object) -> None:
        if self._name in self._failing:
            raise Unavailable("the disk is full")
        super().carry_out(commands)  # type: ignore[arg-type]


def image(name: str) -> Pushed:
    manifest = Manifest(MediaType.OCI_MANIFEST, (), None, "", {})
    return Pushed(Digest.of(name.encode()), 1, manifest)


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    found = Members(tmp_path)
    async with Tasks() as tasks:
        for name in NAMES:
            found.add(name, tasks)
        yield found
    for store in found.stores.values():
        store.close()


async def test_one_whose_disk_fails_leads_no_more_and_comes_back(members: Members) -> None:
    first = await members.leader()
    await members.put(first, "v1", image("one"))
    members.failing.add(first)
    with pytest.raises(Unavailable):
        await members.put(first, "v1", image("never"))
    with pytest.raises(Unavailable):
        await members.agreements[first].current()
    second = await members.leader(first)
    await members.put(second, "v2", image("two"))
    await members.agreements[second].current()
    members.failing.clear()
    await members.agree("v1", image("one").digest)
    await members.agree("v2", image("two").digest)


async def test_one_that_is_cut_off_answers_nobody(members: Members) -> None:
    first = await members.leader()
    await members.put(first, "v1", image("one"))
    members.cut.add(first)
    reading = asyncio.create_task(members.agreements[first].current())
    second = await members.leader(first)
    await members.put(second, "v1", image("two"))
    with pytest.raises(Unavailable):
        await reading
    members.cut.clear()
    await members.agree("v1", image("two").digest)


async def test_what_is_too_large_to_agree_on_is_refused_alone(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "ENTRY_BYTES_MAX", 10_000)
    first = await members.leader()
    with pytest.raises(TooLarge):
        await members.put(first, "v" * 20_000, image("large"))
    await members.put(first, "v1", image("one"))
    await members.agree("v1", image("one").digest)


async def test_reads_that_come_together_share_one_question(members: Members) -> None:
    first = await members.leader()
    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(members.agreements[first].current())
