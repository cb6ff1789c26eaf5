"""Preheats, as an agent takes them: it tells every tracker that it is there, and hears of them.

Nobody can call an agent, which listens on its own host alone; so it asks (decision 21).
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from octopull.clients.preheats import PreheatClient
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.placement.heartbeats import (
    REASON_CHARS_MAX,
    REPORTS_MAX,
    Answer,
    Heartbeat,
    Preheat,
    Progress,
    State,
)
from octopull.runtime.tasks import Tasks, happens
from octopull.services.agent.blobs import Blobs
from octopull.services.agent.fetching import Fetching

log = logs.get("agent")
BUSY_S = 5.0
"""Seconds between heartbeats while there is progress to tell."""

JOBS_MAX = 1000
"""Preheats remembered; of those that ended, the oldest go. One forgotten is looked at anew."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this agent says of itself."""

    peer_id: str
    zone: str
    labels: Mapping[str, str]
    heartbeat_s: float


class _Job:
    """One run of a preheat."""

    def __init__(self, blobs: Blobs, preheat: Preheat) -> None:
        self.preheat = preheat
        self.fetching = Fetching(blobs, preheat)
        self.state = State.WORKING
        self.reason = ""
        self.task: asyncio.Task[None] | None = None

    def progress(self) -> Progress:
        return Progress(
            id=self.preheat.id,
            run=self.preheat.run,
            state=self.state,
            bytes_done=self.fetching.bytes_done,
            bytes_total=self.fetching.bytes_total,
            reason=self.reason,
        )


class Preheater:
    """Heartbeats to each tracker, and the preheats they bring, carried out one after another."""

    def __init__(self, blobs: Blobs, client: PreheatClient, me: Identity) -> None:
        self._blobs = blobs
        self._client = client
        self._me = me
        self._jobs: dict[str, _Job] = {}
        self._queued = asyncio.Event()
        self._news: dict[str, asyncio.Event] = {}
        self._owed: dict[str, set[str]] = {}
        """By tracker, the preheats whose end it was not told."""

    def start(self, tasks: Tasks) -> None:
        """Begin; ``tasks`` ends it."""
        tasks.start(self._work(), "preheat")
        tasks.start(self._beat_all(tasks), "heartbeats")

    # Heartbeats.

    async def _beat_all(self, tasks: Tasks) -> None:
        """Heartbeats to each of the trackers, as they come and go."""
        beating: dict[str, asyncio.Task[None]] = {}
        changed = asyncio.Event()
        self._client.members.on_change(changed.set)
        while True:
            changed.clear()
            hosts = dict.fromkeys(self._client.hosts)
            for host in hosts.keys() - beating.keys():
                self._news[host], self._owed[host] = asyncio.Event(), set()
                beating[host] = tasks.start(self._beat(host), f"heartbeats to {host}")
            for host in beating.keys() - hosts.keys():
                beating.pop(host).cancel()
                del self._news[host], self._owed[host]
            await changed.wait()

    async def _beat(self, host: str) -> None:
        # Many agents start at once; their heartbeats should not come at once for ever.
        pause_s = random.uniform(0.0, self._me.heartbeat_s)
        while True:
            self._news[host].clear()
            try:
                await self._tell(host)
            except Fault as fault:
                log.info("heartbeat.failed", host=host, reason=str(fault))
            working = any(job.state is State.WORKING for job in self._jobs.values())
            await happens(self._news[host], min(pause_s, BUSY_S) if working else pause_s)
            pause_s = self._me.heartbeat_s

    async def _tell(self, host: str) -> None:
        owed = self._owed[host]
        told = [
            job.progress()
            for key, job in self._jobs.items()
            if job.state is State.WORKING or key in owed
        ][:REPORTS_MAX]
        heartbeat = Heartbeat(
            id=self._me.peer_id,
            interval_s=self._me.heartbeat_s,
            zone=self._me.zone,
            labels=dict(self._me.labels),
            progress=told,
        )
        answer = await self._client.beat(host, heartbeat)
        owed.difference_update(one.id for one in told if one.state is not State.WORKING)
        self._hear(host, answer)

    def _hear(self, host: str, answer: Answer) -> None:
        for preheat in answer.preheats:
            job = self._jobs.get(preheat.id)
            if job is None or job.preheat.run < preheat.run:
                self._take(preheat)
            elif job.state is not State.WORKING and job.preheat.run == preheat.run:
                # The tracker has forgotten: it was started anew, and told of it anew.
                self._owed[host].add(preheat.id)
        for key in answer.cancelled:
            if (job := self._jobs.get(key)) is not None and job.state is State.WORKING:
                log.info("preheat.cancelled", preheat=key)
                self._drop(key)

    def _take(self, preheat: Preheat) -> None:
        self._drop(preheat.id)
        if len(self._jobs) >= JOBS_MAX:
            ended = (key for key, job in self._jobs.items() if job.state is not State.WORKING)
            oldest = next(ended, None)
            if oldest is None:
                return
            self._drop(oldest)
        self._jobs[preheat.id] = _Job(self._blobs, preheat)
        self._queued.set()

    def _drop(self, key: str) -> None:
        job = self._jobs.pop(key, None)
        if job is not None and job.task is not None:
            job.task.cancel()
        for owed in self._owed.values():
            owed.discard(key)

    # Work.

    async def _work(self) -> None:
        while True:
            self._queued.clear()
            waiting = (job for job in self._jobs.values() if job.state is State.WORKING)
            job = next(waiting, None)
            if job is None:
                await self._queued.wait()
                continue
            job.task = asyncio.ensure_future(self._carry_out(job))
            try:
                # Not awaited itself: it is cancelled alone when its preheat is.
                await asyncio.wait({job.task})
            finally:
                job.task.cancel()

    async def _carry_out(self, job: _Job) -> None:
        fields = {"preheat": job.preheat.id, "digest": job.preheat.digest}
        log.info("preheat.began", namespace=job.preheat.namespace, **fields)
        try:
            await job.fetching.run()
        except Fault as fault:
            job.state, job.reason = State.FAILED, str(fault)[:REASON_CHARS_MAX]
            log.warning("preheat.failed", reason=str(fault), **fields)
        except Exception as error:
            # Top of the task: without an end, those who wait for it would wait for ever.
            job.state, job.reason = State.FAILED, "it failed inside the agent"
            log.exception("preheat.broke", reason=repr(error), **fields)
        else:
            job.state = State.DONE
            log.info("preheat.done", bytes=job.fetching.bytes_total, **fields)
        metrics.PREHEATS.labels(job.state.value).inc()
        for host, owed in self._owed.items():
            owed.add(job.preheat.id)
            self._news[host].set()
