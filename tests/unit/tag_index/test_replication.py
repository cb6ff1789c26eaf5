"""The tag index's remotes: one at work for each in the rules, and seen as long as it is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.errors import NotFound, Unavailable
from octopull.replication.rules_file import RulesFile
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index import replication
from octopull.services.tag_index.replication import Replication
from octopull.services.tag_index.store import TagStore
from support.replicating import remote, rules, written
from support.waiting import until

EU = remote("measured", "http://127.0.0.1:1")
SOON_S = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    one = TagStore(tmp_path / "book.sqlite")
    yield one
    one.close()


def shown() -> float | None:
    return REGISTRY.get_sample_value("octopull_replication_pending", {"remote": "measured"})


async def test_only_who_tells_remotes_shows_how_much_they_have_yet_to_be_told(
    store: TagStore, tmp_path: Path
) -> None:
    file = RulesFile(rules(tmp_path / "rules.yaml", EU))

    async def measured() -> bool:
        return shown() is not None

    async with Http() as http:
        one = Replication(store, file, OriginCluster(http, [], 1))
        for _ in range(2):
            async with Tasks() as tasks:
                await one.start(tasks)
                await until(measured, SOON_S)
            assert shown() is None


async def test_a_remote_whose_work_ended_is_at_work_again(
    store: TagStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "AGAIN_S", 0.05)
    file = RulesFile(rules(tmp_path / "rules.yaml", EU))

    def working() -> list[asyncio.Task[object]]:
        return [one for one in asyncio.all_tasks() if one.get_name() == "replicate to measured"]

    async def at_work() -> bool:
        return len(working()) == 1

    async with Http() as http, Tasks() as tasks:
        await Replication(store, file, OriginCluster(http, [], 1)).start(tasks)
        await until(at_work, SOON_S)
        (first,) = working()
        first.cancel()
        await asyncio.wait([first])
        await until(at_work, SOON_S)
        assert working() != [first]


async def test_a_remote_whose_settings_change_is_waited_for_and_one_that_left_is_not_found(
    store: TagStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(rules(path, EU))
    async with Http() as http, Tasks() as tasks:
        one = Replication(store, file, OriginCluster(http, [], 1))
        with monkeypatch.context() as hasty, pytest.raises(Unavailable):
            hasty.setattr(replication, "WORKING_S", 0.05)
            await one.remote("measured")
        await one.start(tasks)
        first = await one.remote("measured")
        rules(path, EU | {"timeout_s": 11.0})
        await file.catch_up()

        async def moved() -> bool:
            return await one.remote("measured") is not first

        await until(moved, SOON_S)
        written(path, {})
        await file.catch_up()

        async def gone() -> bool:
            try:
                await one.remote("measured")
            except NotFound:
                return True
            return False

        await until(gone, SOON_S)
