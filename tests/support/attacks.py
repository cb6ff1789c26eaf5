"""Attacks on pulls: a tracker that is asked first lies about a blob, and a peer has the wrong bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from octopull.blob.start import Sealed
from octopull.config.tls import ClusterTls
from octopull.http.client import among_services
from octopull.kernel.digest import Digest
from octopull.placement.members import Members
from octopull.security import seals
from octopull.security.roles import Role
from support.authorities import DAY, new
from support.cluster import content
from support.fake_peer import announce
from support.lying import LyingTracker, Tell, lie, seeding, tracking
from support.secure_site import Site

SIZE = 1_100_000
"""Of the blobs: five pieces."""


def by(files: ClusterTls) -> Tell:
    """Sealed with whatever certificate that is."""
    return seals.load_sealer(files).seal


@dataclass(frozen=True)
class Lies:
    """What a tracker may say, that has any certificate but an origin's."""

    site: Site
    right: Sealed

    def tell(self, how: str) -> Tell:
        ours = self.site.authority
        match how:
            case "without a seal":
                return lambda wrong: wrong
            case "sealed by a tracker":
                return by(ours.files(Role.TRACKER, name="liar"))
            case "sealed by an agent":
                return by(ours.files(Role.AGENT, name="liar"))
            case "sealed by an origin that has ended":
                return by(ours.files(Role.ORIGIN, name="old", ago=2 * DAY, life=DAY))
            case "sealed by an origin of others":
                return by(new(self.site.folder / "others").files(Role.ORIGIN))
            case "with the right one's seal":
                return lambda wrong: Sealed(wrong, self.right.seal)
            case "with a seal that makes no sense":
                return lambda wrong: Sealed(wrong, b"nonsense")
        raise AssertionError(how)


LIES = [
    "without a seal", "sealed by a tracker", "sealed by an agent",
    "sealed by an origin that has ended", "sealed by an origin of others",
    "with the right one's seal", "with a seal that makes no sense",
]  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """A tracker that lies about a blob; a peer that all know has the wrong bytes.

    It is asked first, and would be where the peers meet: one that names none but liars.
    """

    blob: bytes
    digest: Digest
    wrong: bytes
    liar: LyingTracker
    line: list[str]
    """Trackers, the liar first."""


def first_of(line: list[str], key: str) -> str:
    """Which tracker is asked first about a digest or a swarm."""
    return Members.of(line).now.line(key)[0]


@asynccontextmanager
async def attack(site: Site, how: str) -> AsyncIterator[Attack]:
    wrong = content(SIZE, 99)
    liar = LyingTracker(lie(Digest.of(b""), wrong), lambda one: one)
    async with tracking(liar, site.authority.files(Role.TRACKER, name="first")):
        line = [liar.address, site.tracker.address]
        blob = next(
            blob for blob in (content(SIZE, seed) for seed in range(100, 200))
            if first_of(line, Digest.of(blob).hex) == liar.address
            and first_of(line, lie(Digest.of(blob), blob).info_hash) == liar.address
        )  # fmt: skip
        digest = await site.push(blob)
        liar.metainfo = lie(digest, wrong)
        liar.tell = Lies(site, await site.sealed(digest)).tell(how)
        peer_files = site.authority.files(Role.AGENT, name="peer")
        async with seeding(site.folder / "peer", liar.metainfo, wrong, peer_files) as peer:
            liar.peers = [peer.me]
            async with among_services(Role.AGENT, peer_files) as (_, http):
                told = http.to(Role.TRACKER)
                await announce(told, site.tracker.address, liar.metainfo, peer.me)
            yield Attack(blob, digest, wrong, liar, line)
