"""What is found when all is healed: what no right cluster would have told, and what is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from octopull.kernel.digest import Digest
from octopull.runtime.tasks import each
from support.chaos.client import Client, Noted, Target
from support.chaos.disks import Disks
from support.chaos.history import History, Outcome, Tag
from support.chaos.linearizable import unexplained
from support.production import Node, Production
from support.waiting import until

HEALED_S = 40.0
"""Within which everything must come once all is healed."""

AT_ONCE = 4


@dataclass
class Verdict:
    """Each a sentence, and what led to it."""

    lost: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    anomalies: list[str] = field(default_factory=list[str])
    missed: list[str] = field(default_factory=list[str])
    """Said to be nowhere, though acknowledged; at last it was there."""
    unrepaired: list[str] = field(default_factory=list[str])
    """Copies that an owner still lacks."""
    differing: list[str] = field(default_factory=list[str])
    """What two clusters that replicate to each other do not agree on."""
    broken: list[str] = field(default_factory=list[str])
    """Why the run did not come to its end, or a process did not live to see it."""

    @property
    def good(self) -> bool:
        """Whether there is none."""
        return not any(self.sentences())

    def sentences(self) -> Iterator[str]:
        """All, by kind."""
        for kind, found in vars(self).items():
            for one in found:
                yield f"{kind}: {one}"


async def judged(cluster: Production, noted: Noted, disks: Disks) -> Verdict:
    """Ask for everything that was acknowledged, from an agent that has nothing, and from all."""
    ended = [f"{node.name} has ended by itself" for node in cluster.nodes if not node.alive]
    if ended:
        return Verdict(broken=ended)
    found, client = Verdict(), Client("judge", noted)
    fresh = await _emptied(cluster, cluster.agents[0])

    async def read(digest: str) -> None:
        if lost := await _lost(client, noted, fresh, digest):
            found.lost.append(f"{lost}\n{story_of(noted.history, digest)}")

    async def resolve(tag: Tag) -> None:
        for node in (fresh, *(Target(one.name, one.address) for one in cluster.proxies)):
            if not await _resolved(client, node, tag):
                found.lost.append(f"no answer what {tag} is via {node.name}")

    await each(sorted(noted.books.repositories), read, AT_ONCE)
    await each(noted.history.tags, resolve, AT_ONCE)
    if not await disks.repaired(noted.books.blobs, HEALED_S):
        found.unrepaired += await asyncio.to_thread(lambda: list(disks.lacking(noted.books.blobs)))
    found.wrong += noted.wrong
    found.missed += noted.missed
    found.anomalies += anomalies(noted.history)
    return found


async def _emptied(cluster: Production, agent: Node) -> Target:
    agent.kill()
    agent.wipe()
    await cluster.start(agent)
    return Target(agent.name, agent.address)


def anomalies(history: History) -> list[str]:
    """Of each tag that no order of its operations explains, why, and all that was asked of it."""
    found = {tag: unexplained(history.steps(tag)) for tag in history.tags}
    return [
        f"{tag}: {reason}\n{history.story([tag])}"
        for tag, reason in found.items()
        if reason is not None
    ]


def story_of(history: History, digest: str) -> str:
    """All that was asked about the tags that ever stood for it."""
    return history.story({one.tag for one in history.operations if one.value == digest})


async def _lost(client: Client, noted: Noted, at: Target, digest: str) -> str:
    """What of an acknowledged image does not come; nothing if all does."""
    repository, image = noted.books.repositories[digest], noted.books.images[digest]
    for kind, content in (
        ("manifests", image.manifest),
        *(("blobs", blob) for blob in image.blobs),
    ):
        said = await _unread(client, at, repository, kind, content)
        if said:
            return f"{repository} {kind} {Digest.of(content)} of {digest}: {said}"
    return ""


async def _unread(client: Client, at: Target, repository: str, kind: str, content: bytes) -> str:
    """What was said last in place of the bytes; nothing if they came."""
    said = ""

    async def there() -> bool:
        nonlocal said
        asked = await client.read(at, repository, kind, content)
        said = asked.said
        return asked.fine

    return "" if await soon(there) else said or "no answer"


async def _resolved(client: Client, at: Target, tag: Tag) -> bool:
    async def answers() -> bool:
        one, _ = await client.resolve(at, tag)
        return one.outcome is Outcome.DONE and not one.stale

    return await soon(answers)


async def soon(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does within ``HEALED_S``."""
    try:
        await until(holds, HEALED_S)
    except TimeoutError:
        return False
    return True
