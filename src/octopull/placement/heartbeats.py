"""What agents, trackers and those who preheat tell each other; all of it is JSON."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.kernel.peers import ZONE_CHARS_MAX
from octopull.placement import labels as label

PLATFORMS_MAX = 16
REASON_CHARS_MAX = 300
REPORTS_MAX = 64
"""Preheats that one heartbeat tells of, and that its answer names."""

INTERVAL_S_MAX = 3600.0
NUMBER_MAX = (1 << 53) - 1
_AGENT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_PLATFORM = re.compile(r"[a-z0-9_.-]{1,32}/[a-z0-9_.-]{1,32}(/[a-z0-9_.-]{1,32})?", re.ASCII)


def check_platform(text: str) -> str:
    """``text`` itself, if it is ``os/architecture`` or ``os/architecture/variant``.

    Raises:
        Misuse: it is not.

    """
    if _PLATFORM.fullmatch(text) is None:
        raise Misuse("a platform is written linux/amd64 or linux/arm/v7", platform=text[:80])
    return text


def _check_number(number: int) -> None:
    if not 0 <= number <= NUMBER_MAX:
        raise Misuse("a number lies in 0..2**53-1", number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preheat:
    """An order that the chosen agents have an image, or a lone blob, in their caches.

    ``digest`` is the manifest's (or the blob's) and ``namespace`` its repository. ``agents``
    are selectors: an agent obeys if it has all labels of one of them; none of them means every
    agent. ``platforms`` choose among the images of an index; none means all. ``run`` grows each
    time the same is ordered anew, so that agents look again.
    """

    namespace: str
    digest: str
    blob: bool = False
    platforms: list[str] = field(default_factory=list[str])
    agents: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    run: int = 0

    def __post_init__(self) -> None:
        names.namespace(self.namespace)
        Digest.parse(self.digest)
        label.check_selectors(self.agents)
        _check_number(self.run)
        if len(self.platforms) > PLATFORMS_MAX:
            raise Misuse("too many platforms", most=PLATFORMS_MAX)
        for platform in self.platforms:
            check_platform(platform)

    @property
    def id(self) -> str:
        """32 hexadecimal characters that follow from all but ``run``, in whatever order."""
        selectors = sorted(sorted(one.items()) for one in self.agents)
        content = [self.namespace, self.digest, self.blob, sorted(self.platforms), selectors]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]


class State(StrEnum):
    """How an agent stands to a preheat that it knows of."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one agent is with run ``run`` of the preheat ``id``; totals are 0 till known."""

    id: str
    run: int
    state: State
    bytes_done: int = 0
    bytes_total: int = 0
    reason: str = ""
    """Why it failed, in words for people."""

    def __post_init__(self) -> None:
        for number in (self.run, self.bytes_done, self.bytes_total):
            _check_number(number)
        if len(self.reason) > REASON_CHARS_MAX or len(self.id) > 64:
            raise Misuse("a reason is a sentence", chars_max=REASON_CHARS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """An agent that is there, and will say so again within ``interval_s`` seconds."""

    id: str
    interval_s: float
    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    progress: list[Progress] = field(default_factory=list[Progress])

    def __post_init__(self) -> None:
        if _AGENT.fullmatch(self.id) is None:
            raise Misuse("a peer id has 40 hexadecimal characters", id=self.id[:80])
        if not 0 < self.interval_s <= INTERVAL_S_MAX:
            raise Misuse("a heartbeat is at most an hour apart", interval_s=self.interval_s)
        if len(self.zone) > ZONE_CHARS_MAX or not self.zone.isprintable():
            raise Misuse("not a zone", zone=self.zone[:80])
        label.check(self.labels)
        if len(self.progress) > REPORTS_MAX:
            raise Misuse("too much progress in one heartbeat", most=REPORTS_MAX)

    @property
    def all_labels(self) -> Mapping[str, str]:
        """The labels, and the zone as one of them."""
        return {**self.labels, label.ZONE: self.zone} if self.zone else self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tracker tells an agent: what it is to do, and what of it was cancelled."""

    preheats: list[Preheat]
    cancelled: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An agent that could not, and why."""

    agent: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a preheat is, as one tracker knows it.

    ``agents`` were chosen and spoke lately; ``done`` and ``failed`` of them ended. Bytes are
    summed over the agents that told. Unless ``settled``, the tracker started so lately that
    agents may be missing.
    """

    run: int
    cancelled: bool
    settled: bool
    agents: int
    done: int
    failed: int
    bytes_done: int
    bytes_total: int
    failures: list[Failure]
