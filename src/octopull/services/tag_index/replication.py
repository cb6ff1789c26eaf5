"""The tag index's remotes: one at work for each in the rules, whatever becomes of the rules."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from octopull.clients.origin import OriginCluster
from octopull.clients.replication import RemoteProgress, ReplicationProgress
from octopull.config.replication import RemoteSettings
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.replication.remote import Remote, opened_remote
from octopull.replication.rules_file import RulesFile
from octopull.runtime.tasks import Tasks, happens
from octopull.services.tag_index.replicated_book import ReplicatedBook
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote
from octopull.storage.task_table import oldest_s

log = logs.get("replication")
MEASURE_S = 5.0
AGAIN_S = 10.0
"""How soon one that failed is at work again."""
WORKING_S = 5.0
"""How long whoever asks for a remote waits while it is on its way to work."""


class Replication:
    """Tells the remotes of ``file`` what the tasks of ``store`` name; blobs are those of ``origins``.

    ``confirm``, if others share the book, raises Unavailable unless this is who tells of it.
    """

    def __init__(
        self, store: TagStore, file: RulesFile, origins: OriginCluster,
        confirm: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._file = file
        self._origins = origins
        self.book = ReplicatedBook(store, confirm)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._remotes: dict[str, Remote] = {}
        self._opened = asyncio.Event()
        """Set when one is at work; whoever waits for that clears it."""
        self._measured: set[str] = set()

    async def start(self, tasks: Tasks) -> None:
        """Work within ``tasks``, on what an earlier process left, too."""
        await self._file.catch_up()
        tasks.start(self._run(tasks), "replicate")
        tasks.start(self._measure(), "measure replication")

    async def _run(self, tasks: Tasks) -> None:
        while True:
            self._file.changed.clear()
            await self._restart(tasks, self._file.rules.remotes)
            await happens(self._file.changed, AGAIN_S)

    async def _restart(self, tasks: Tasks, ruled: Mapping[str, RemoteSettings]) -> None:
        """Have the remotes ``ruled`` at work, and no others.

        What was on its way to one whose settings changed is broken off, and gone on with.
        """
        for name, running in list(self._running.items()):
            remote = self._remotes.get(name)
            if running.done() or remote is None or ruled.get(name) != remote.settings:
                await self._end(name)
        for name, settings in ruled.items():
            if name not in self._running:
                self._running[name] = tasks.start(self._work(settings), f"replicate to {name}")

    async def _end(self, name: str) -> None:
        running = self._running.pop(name)
        running.cancel()
        await asyncio.wait([running])

    async def _work(self, settings: RemoteSettings) -> None:
        lane = lane_of_remote(settings.name)
        async with opened_remote(
            settings, self._file, lane, self._origins, self.book, self._store.tasks
        ) as remote:
            self._remotes[settings.name] = remote
            self._opened.set()
            try:
                await remote.run()
            finally:
                del self._remotes[settings.name]

    # What can be seen and asked.

    async def remote(self, name: str) -> Remote:
        """One at work; one whose settings have just changed is waited for.

        Raises:
            NotFound: the rules name none of that name. Unavailable: it failed to start.

        """
        with suppress(TimeoutError):
            async with asyncio.timeout(WORKING_S):
                while name in self._file.rules.remotes and name not in self._remotes:
                    self._opened.clear()
                    await self._opened.wait()
        if name in self._remotes:
            return self._remotes[name]
        if name in self._file.rules.remotes:
            raise Unavailable(f"the remote {name} is not at work: see the log of this tag index")
        raise NotFound(f"the rules name no remote {name}")

    async def forget(self, name: str) -> int:
        """Forget what a remote was to be told of; returns how many tasks that was."""
        return await asyncio.to_thread(self._store.tasks.drop_remote, name)

    async def progress(self) -> ReplicationProgress:
        """What is pending, for each remote."""
        counts = await self._store.tasks.remote_counts()
        ruled, now_s = self._file.rules.remotes, time.time()
        remotes = [
            RemoteProgress(
                name=name,
                pending=counts[name].pending if name in counts else 0,
                oldest_s=oldest_s([counts[name]] if name in counts else [], now_s),
                failing=self._remotes[name].failing if name in self._remotes else "",
                ruled=name in ruled,
            )
            for name in dict.fromkeys([*ruled, *counts])
        ]
        return ReplicationProgress(remotes=remotes, refused=self._file.refused)

    async def _measure(self) -> None:
        try:
            while True:
                try:
                    self._show((await self.progress()).remotes)
                except Fault as fault:
                    log.warning("tasks.not_read", reason=str(fault))
                await asyncio.sleep(MEASURE_S)
        finally:
            # Whoever works on the tasks from now on shows how many there are.
            self._show([])

    def _show(self, remotes: Sequence[RemoteProgress]) -> None:
        for name in self._measured - {one.name for one in remotes}:
            metrics.REPLICATION_PENDING.remove(name)
            metrics.REPLICATION_OLDEST_SECONDS.remove(name)
        for one in remotes:
            metrics.REPLICATION_PENDING.labels(one.name).set(one.pending)
            metrics.REPLICATION_OLDEST_SECONDS.labels(one.name).set(one.oldest_s)
        self._measured = {one.name for one in remotes}
