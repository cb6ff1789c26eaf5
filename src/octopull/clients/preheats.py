"""How agents, proxies and the command line speak to trackers about preheats."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from octopull.http.client import Http
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.placement.heartbeats import Answer, Heartbeat, Preheat, Standing
from octopull.placement.members import Members

T = TypeVar("T")
TIMEOUT_S = 5.0
SILENT_S = 1.0
"""Once one tracker has answered, others are waited for this long: any of them can answer alone."""


class PreheatClient:
    """The trackers of one cluster; each hears everything, so that any can answer alone.

    ``hosts`` are ``host:port``, or members that come and go.
    """

    def __init__(self, http: Http, hosts: Sequence[str] | Members) -> None:
        self._http = http
        self.members = Members.of(hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them now."""
        return self.members.hosts

    async def beat(self, host: str, heartbeat: Heartbeat) -> Answer:
        """Tell one tracker that this agent is there, and hear what to do.

        Raises:
            Unavailable: it doesn't answer. Misuse: it is too old to know heartbeats.

        """
        url = f"http://{host}/agents"
        return await self._http.json("POST", url, Answer, body=heartbeat, timeout_s=TIMEOUT_S)

    async def begin(self, preheat: Preheat) -> Preheat:
        """Put ``preheat`` at all trackers as a new run, which is returned.

        Raises:
            Unavailable: no tracker took it.

        """
        known = await self._standings(preheat.id)
        # Clocks of hosts differ, and a run must be above those before it.
        run = max([time.time_ns() // 1_000_000, *(one.run + 1 for one in known)])
        begun = replace(preheat, run=run)
        await self.put(begun)
        return begun

    async def put(self, preheat: Preheat) -> None:
        """Put ``preheat`` at all trackers; repeating it is safe.

        Raises:
            Unavailable: no tracker took it.

        """
        body = msgspec.json.encode(preheat)

        async def ask(host: str) -> None:
            await self._http.call(
                "PUT", self._url(host, preheat.id), data=body, timeout_s=TIMEOUT_S
            )

        answers = await self._all(ask, SILENT_S)
        refusals = [one for one in answers if isinstance(one, Fault)]
        if len(refusals) == len(answers):
            raise refusals[0]

    async def standing(self, preheat_id: str) -> Standing:
        """How far it is, by the tracker that knows most.

        Raises:
            NotFound: no tracker knows it. Unavailable: none answers.

        """
        found = await self._standings(preheat_id)
        if not found:
            raise NotFound("no tracker knows this preheat")
        run = max(one.run for one in found)
        return max(
            (one for one in found if one.run == run),
            key=lambda one: (one.cancelled, one.settled, one.agents, one.done + one.failed),
        )

    async def cancel(self, preheat_id: str) -> None:
        """Take it back at all trackers.

        Raises:
            NotFound: no tracker knows it. Unavailable: one did not answer, and may still know it.

        """

        async def ask(host: str) -> None:
            await self._http.call("DELETE", self._url(host, preheat_id), timeout_s=TIMEOUT_S)

        answers = await self._all(ask, TIMEOUT_S)
        faults = [one for one in answers if isinstance(one, Fault)]
        for fault in faults:
            if not isinstance(fault, NotFound):
                raise fault
        if len(faults) == len(answers):
            raise NotFound("no tracker knows this preheat")

    async def _standings(self, preheat_id: str) -> list[Standing]:
        async def ask(host: str) -> Standing:
            url = self._url(host, preheat_id)
            return await self._http.json("GET", url, Standing, timeout_s=TIMEOUT_S)

        answers = await self._all(ask, SILENT_S)
        found = [one for one in answers if isinstance(one, Standing)]
        silent = [one for one in answers if isinstance(one, Unavailable)]
        if len(silent) == len(answers):
            raise silent[0]
        return found

    @staticmethod
    def _url(host: str, preheat_id: str) -> str:
        return f"http://{host}/preheats/{preheat_id}"

    async def _all(self, ask: Callable[[str], Awaitable[T]], silent_s: float) -> list[T | Fault]:
        """What each says; who is silent ``silent_s`` seconds after another has answered, is down."""

        async def one(host: str) -> T | Fault:
            try:
                return await ask(host)
            except Fault as fault:
                return fault

        if not self.hosts:
            raise Unavailable("DNS has not yet said who the trackers are")
        asked = {asyncio.ensure_future(one(host)): host for host in self.hosts}
        waiting, wait_s = set(asked), None
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                if not all(isinstance(task.result(), Unavailable) for task in done):
                    wait_s = silent_s
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return [
            Unavailable(f"{host} is silent") if task in waiting else task.result()
            for task, host in asked.items()
        ]
