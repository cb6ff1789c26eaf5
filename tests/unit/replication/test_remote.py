"""A remote's tasks, whatever becomes of the rules."""

import asyncio
import math
import time
from pathlib import Path

from octopull.clients.origin import OriginCluster
from octopull.config.replication import RemoteSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.oci.manifests import Manifest, MediaType
from octopull.replication.remote import PAUSE_S_MAX, UNRULED, opened_remote
from octopull.replication.rules_file import RulesFile
from octopull.services.tag_index.replicated_book import ReplicatedBook
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote
from octopull.storage.task_table import TaskTable
from support.replicating import remote, written
from support.waiting import until

EU = remote("eu", "http://127.0.0.1:1")
LANE = lane_of_remote("eu")
SOON_S = 20.0


async def test_what_a_rule_no_longer_sends_to_a_remote_is_kept(tmp_path: Path) -> None:
    rule = {"match": "other/.*", "remotes": ["eu"]}
    file = RulesFile(written(tmp_path / "rules.yaml", {"remotes": [EU], "rules": [rule]}))
    store = TagStore(tmp_path / "book.sqlite", remotes_of=lambda _: ["eu"])
    manifest = Manifest(MediaType.OCI_MANIFEST, (), None, None, {})
    store.record("team/app", Pushed(Digest.of(b"1"), 1, manifest), [], ["v1"])

    async def decided() -> bool:
        (task,) = TaskTable(store.database).due(LANE, math.inf, 10)
        return task.attempts > 0

    async with (
        Http() as http,
        opened_remote(
            RemoteSettings(name="eu", url=EU["url"]), file, LANE, OriginCluster(http, [], 1),
            ReplicatedBook(store), store.tasks,
        ) as opened,
    ):  # fmt: skip
        running = asyncio.create_task(opened.run())
        await until(decided, SOON_S)
        running.cancel()
        await asyncio.wait([running])
    (task,) = TaskTable(store.database).due(LANE, math.inf, 10)
    assert (task.key, task.reason) == ("team/app v1", UNRULED)
    assert PAUSE_S_MAX - SOON_S < task.due_s - time.time() <= PAUSE_S_MAX
    store.close()
