"""Clients that push, move, delete and pull at once, by a seed, until they are told to end."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from octopull.kernel.digest import Digest
from support.chaos.client import Asked, Client, Noted, Target
from support.chaos.history import Outcome, Tag
from support.images import Image
from support.production import Production

TAGS = 6
"""Few, so that clients meet at them."""

FRESH = 16
"""Images that wait to be pulled for the first time."""

PUSH_EVERY_S, MOVE_EVERY_S, PULL_EVERY_S, FRESH_EVERY_S = 0.6, 0.5, 0.25, 0.4
DOWN_SHARE = 0.1
"""Of requests that go to a node that something befalls, as far as there are others."""


class Workload:
    """All of them; ``harmed`` names the nodes that something befalls now.

    What is ``damaged``, and on whose disk, they ask for, and take it from there. ``team`` owns
    the repositories.
    """

    def __init__(
        self, seed: int, cluster: Production, noted: Noted, harmed: Collection[str],
        damaged: list[tuple[str, Digest]], team: str = "team",
    ) -> None:  # fmt: skip
        self._seed = f"{seed} {team}"
        self._team = team
        self._tags = [Tag(f"{team}/app{number % 3}", f"v{number}") for number in range(TAGS)]
        self._noted = noted
        self._harmed = harmed
        self._damaged = damaged
        self._proxies = [Target(one.name, one.address) for one in cluster.proxies]
        self._agents = [Target(one.name, one.address) for one in cluster.agents]
        self._numbers = itertools.count(seed * 1_000_000 + 1)
        self._stood: list[tuple[Tag, Image]] = []
        self._fresh: list[Tag] = []
        self._over = asyncio.Event()
        self.asked: list[Asked] = []
        """The requests of pulls of images that no agent had."""

    async def stock(self) -> None:
        """Push images that are to be pulled later, so many that some are always there."""

        async def push(number: int) -> None:
            client = Client(f"stocker-{number}", self._noted)
            await self._stock(client, random.Random(f"{self._seed} {number}"))

        await asyncio.gather(*map(push, range(FRESH)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All of them, until the block ends, and each its last request."""
        loops: list[tuple[str, float, Callable[[Client, random.Random], Awaitable[None]]]] = [
            ("pusher-0", PUSH_EVERY_S, self._push), ("pusher-1", PUSH_EVERY_S, self._push),
            ("mover", MOVE_EVERY_S, self._move), ("stocker", FRESH_EVERY_S, self._stock),
            *((f"puller-{number}", PULL_EVERY_S, self._pull) for number in range(3)),
            *((f"newcomer-{number}", FRESH_EVERY_S, self._pull_fresh) for number in range(2)),
        ]  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            for loop in loops:
                tasks.create_task(self._again(*loop))
            try:
                yield
            finally:
                self._over.set()

    async def _again(
        self, name: str, every_s: float, act: Callable[[Client, random.Random], Awaitable[None]]
    ) -> None:
        client, chance = Client(name, self._noted), random.Random(f"{self._seed} {name}")
        while not self._over.is_set():
            await act(client, chance)
            try:
                await asyncio.wait_for(self._over.wait(), chance.expovariate(1 / every_s))
            except TimeoutError:
                continue

    def _some(self, targets: list[Target], chance: random.Random) -> Target:
        up = [one for one in targets if one.name not in self._harmed]
        return chance.choice(targets if not up or chance.random() < DOWN_SHARE else up)

    async def _push(self, client: Client, chance: random.Random) -> None:
        tag, new = chance.choice(self._tags), self._noted.books.drawn(next(self._numbers))
        for _ in range(chance.randint(1, 2)):
            outcome = await client.push(self._some(self._proxies, chance), tag, new)
            if outcome is Outcome.DONE:
                self._stood.append((tag, new))
                return

    async def _move(self, client: Client, chance: random.Random) -> None:
        tag, proxy = chance.choice(self._tags), self._some(self._proxies, chance)
        there = [image for other, image in self._stood if other.repository == tag.repository]
        if chance.random() < 0.3 or not there:
            await client.delete(proxy, tag)
        else:
            await client.move(proxy, tag, chance.choice(there))

    async def _stock(self, client: Client, chance: random.Random) -> None:
        if len(self._fresh) >= FRESH:
            return
        number = next(self._numbers)
        tag, new = Tag(f"{self._team}/fresh", f"n{number}"), self._noted.books.drawn(number)
        if await client.push(self._some(self._proxies, chance), tag, new) is Outcome.DONE:
            self._fresh.append(tag)

    async def _pull(self, client: Client, chance: random.Random) -> None:
        while self._damaged:
            name, digest = self._damaged.pop()
            if part := self._noted.books.part(digest):
                itself = [one for one in self._agents if one.name == name]
                for at in itself or self._proxies:
                    await client.read(at, *part)
        at = self._some([*self._agents, *self._proxies], chance)
        await client.pull(at, chance.choice(self._tags))

    async def _pull_fresh(self, client: Client, chance: random.Random) -> None:
        up = [one for one in self._agents if one.name not in self._harmed]
        if self._fresh and up:
            self.asked += await client.pull(chance.choice(up), self._fresh.pop(0))
