"""Hosts, links, a tracker and an agenda: one run from the first arrival to the last completion."""

import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from struct import Struct

from octopull.kernel import bitfield
from octopull.kernel.peers import Peer, PeerKind
from octopull.sim import faults
from octopull.sim.agenda import Agenda
from octopull.sim.checks import Violation, check, told
from octopull.sim.faults import Plan
from octopull.sim.host import EVERY, Host
from octopull.sim.mishaps import befall
from octopull.sim.network import Link
from octopull.sim.partition import Partition
from octopull.sim.scenario import LATE_ONE_IN, Arrival, Scenario
from octopull.sim.swarm import End, SimSwarm
from octopull.sim.tracker import SimTracker
from octopull.swarm.engine import Engine
from octopull.swarm.events import AnnounceFailed, Connected, Dialed, DialFailed, Discovered
from octopull.swarm.limits import Announces

_NOTE = Struct("<dIII")
_WHOLE = (1 << 32) - 1

ADVANCE = 50_000
"""Events between two looks at what isn't part of the run: about a second."""

TRACKER_S = 0.0005
"""What a tracker takes to answer, its HTTP included."""

AGAIN_S = 1.0
"""A client whose pull failed since nobody had the blob tries again."""


class World:
    """A run. ``advance`` until it says no, or ``run``."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        self.random = random.Random(scenario.seed)
        self.layouts = scenario.layouts
        self.hosts: list[Host] = []
        self.by_id: dict[str, Host] = {}
        self.tracker = SimTracker(scenario, self.random)
        self.partition: Partition | None = None
        self.started: dict[int, float] = {}
        self.finished: dict[int, float] = {}
        self.last_told: SimSwarm | None = None
        self._limit_s = scenario.limit_s
        self._transcript = blake2b(digest_size=8)
        plan = faults.plan(scenario)
        self._populate(plan)
        self.left = sum(host.counts for host in self.hosts) * scenario.picked
        for mishap in plan.mishaps:
            self.agenda.at(mishap.at, befall, self, mishap)

    def _populate(self, plan: Plan) -> None:
        scenario = self.scenario
        for number in range(scenario.origins):
            host = self._host(number, PeerKind.ORIGIN, scenario.origin_rate or scenario.rate)
            for blob, layout in enumerate(self.layouts):
                if number in scenario.holders(blob):
                    self.tracker.origins[blob].append(host.peer)
                    self.join(host, blob, bitfield.full(layout.count)).start()
        for number in range(scenario.hosts):
            slow = self.random.random() < scenario.slow_share
            rate = scenario.rate / 10 if slow else scenario.rate
            host = self._host(scenario.origins + number, PeerKind.AGENT, rate)
            host.spoils = EVERY if host.number in plan.liars else 0
            host.freerides = host.number in plan.freeriders
            self.agenda.at(self._arrival(number), self._arrive, host)

    def _arrival(self, number: int) -> float:
        scenario = self.scenario
        # Drawn in any case, so that what is drawn after does not depend on the arrivals.
        at = self.random.random() * scenario.arrival_s
        if scenario.arrival is Arrival.STAGGERED:
            return number / scenario.hosts * scenario.arrival_s
        if scenario.arrival is Arrival.LATE and number % LATE_ONE_IN == LATE_ONE_IN - 1:
            return scenario.bound_s / 2
        return at

    def _host(self, number: int, kind: PeerKind, rate: float) -> Host:
        scenario = self.scenario
        zone = f"z{number % scenario.zones}" if scenario.zones > 1 else ""
        key = f"{self.random.getrandbits(160):040x}"
        peer = Peer(id=key, host=f"h{number}", port=1, kind=kind, zone=zone)
        quantum = max(layout.piece_length for layout in self.layouts) // scenario.parts
        link = Link(self.agenda, rate, rate, quantum, quantum * scenario.window)
        host = Host(self, number, peer, link)
        self.hosts.append(host)
        self.by_id[peer.id] = host
        return host

    def join(self, host: Host, blob: int, have: int) -> SimSwarm:
        """A new core for a blob at a host, in place of any there was; it is still to be started."""
        limits, layout = self.scenario.limits, self.layouts[blob]
        if host.peer.kind is PeerKind.ORIGIN:
            limits = replace(limits, announces=Announces.NO, seeding=self.scenario.seeding)
        salt = self.random.getrandbits(64)
        engine = Engine(
            me=host.peer.id, layout=layout, have=have, limits=limits, salt=salt,
            zone=host.peer.zone,
        )  # fmt: skip
        swarm = SimSwarm(host, blob, layout, engine)
        host.swarms[blob] = swarm
        return swarm

    def _arrive(self, host: Host) -> None:
        self.started[host.number] = self.agenda.now
        blobs: Sequence[int] = range(len(self.layouts))
        if self.scenario.pick is not None:
            blobs = self.random.sample(blobs, self.scenario.pick)
        for blob in blobs:
            self.join(host, blob, 0)
        for swarm in host.swarms.values():
            swarm.start()

    # What hosts ask of the world.

    def latency_s(self, one: Host, other: Host) -> float:
        """One way between two hosts."""
        near = one.peer.zone == other.peer.zone
        return self.scenario.latency_s if near else self.scenario.zone_latency_s

    def _parted(self, one: Host, other: Host) -> bool:
        return self.partition is not None and self.partition.parts(one, other)

    def dial(self, swarm: SimSwarm, peer: Peer) -> None:
        """Connect and shake hands: three ways until the other side knows."""
        other_host = self.by_id[peer.id]
        latency_s, now = self.latency_s(swarm.host, other_host), self.agenda.now
        other = other_host.swarms.get(swarm.blob)
        if other is None or other.closed:
            self.agenda.at(now + 2 * latency_s, swarm.tell, DialFailed(peer.id))
            return
        told = swarm.engine.greeting
        self.agenda.at(now + 3 * latency_s, self._meet, swarm, other, latency_s, told)

    def _meet(self, ours: SimSwarm, theirs: SimSwarm, latency_s: float, told: int) -> None:
        if ours.closed or theirs.closed or self._parted(ours.host, theirs.host):
            ours.tell(DialFailed(theirs.host.peer.id))
            return
        here, there = ours.host.new_conn(), theirs.host.new_conn()
        theirs.ends[there] = End(ours, here, latency_s, self.agenda.now + latency_s)
        holds = theirs.engine.greeting
        self.agenda.at(
            self.agenda.now + latency_s, self._welcome, ours, theirs, (here, there), latency_s,
            (holds, told),
        )  # fmt: skip
        theirs.tell(Connected(there, ours.host.peer, Dialed.BY_THEM, told, holds))

    def _welcome(
        self, ours: SimSwarm, theirs: SimSwarm, conns: tuple[int, int], latency_s: float,
        greetings: tuple[int, int],
    ) -> None:  # fmt: skip
        here, there = conns
        if ours.closed:
            self.agenda.at(self.agenda.now + latency_s, theirs.lost, there)
        elif theirs.closed or self._parted(ours.host, theirs.host):
            ours.tell(DialFailed(theirs.host.peer.id))
        else:
            ours.ends[here] = End(theirs, there, latency_s)
            ours.tell(Connected(here, theirs.host.peer, Dialed.BY_US, *greetings))

    def announce(self, swarm: SimSwarm) -> None:
        """Ask the tracker, there and back."""
        when = self.agenda.now + 2 * self.scenario.latency_s + TRACKER_S
        self.agenda.at(when, self._introduce, swarm)

    def _introduce(self, swarm: SimSwarm) -> None:
        if swarm.closed:
            return
        if not self.tracker.reachable:
            swarm.tell(AnnounceFailed())
            return
        engine, now = swarm.engine, self.agenda.now
        peers = self.tracker.answer(
            swarm.blob, swarm.host.peer, engine.wants, now, complete=engine.complete
        )
        swarm.tell(Discovered(peers, self.scenario.interval_s))

    def note(self, swarm: SimSwarm, piece: int) -> None:
        """A piece is verified: a line of the transcript."""
        self._transcript.update(_NOTE.pack(self.agenda.now, swarm.host.number, swarm.blob, piece))

    def completed(self, swarm: SimSwarm) -> None:
        """A host has a whole blob."""
        host = swarm.host
        self.note(swarm, _WHOLE)
        if host.counts:
            self.left -= 1
            if all(one.done_at is not None for one in host.swarms.values()):
                self.finished.setdefault(host.number, self.agenda.now)

    def gave_up(self, swarm: SimSwarm) -> None:
        """A core lost patience: a failure, unless nobody was there to give what it lacks."""
        held = swarm.engine.have
        for host in self.hosts:
            other = host.swarms.get(swarm.blob)
            if other is not None and not other.closed and host.honest:
                held |= other.engine.have
        if swarm.host.counts:
            if held == bitfield.full(swarm.layout.count):
                raise self.violation("gave up though every piece is held", swarm)
            swarm.close()
            self.agenda.at(self.agenda.now + AGAIN_S, self._resume, swarm)

    def _resume(self, old: SimSwarm) -> None:
        if old.host.swarms[old.blob] is old and old.host.up:
            self.join(old.host, old.blob, old.engine.have).start()

    # The run.

    def run(self) -> None:
        """From beginning to end.

        Raises:
            Violation: something did not hold, or did not come about.

        """
        while self.advance(ADVANCE):
            pass

    def advance(self, events: int) -> bool:
        """Let up to ``events`` things happen; whether there is more to come.

        Raises:
            Violation: as in ``run``.

        """
        step, agenda, limit_s = self.agenda.step, self.agenda, self._limit_s
        try:
            for _ in range(events):
                if not self.left or agenda.now >= limit_s or not step():
                    self._conclude()
                    return False
        except Violation:
            raise
        except Exception as error:
            raise self.violation(f"{type(error).__name__}: {error}", self.last_told) from error
        return True

    def _conclude(self) -> None:
        for host in self.hosts:
            for swarm in host.swarms.values():
                if not swarm.closed:
                    self.last_told = swarm
                    check(swarm)
                if host.counts and swarm.done_at is None:
                    missing = swarm.layout.count - swarm.engine.have.bit_count()
                    raise self.violation(
                        f"{self.left} downloads are not done at the end; this one lacks "
                        f"{missing} of {swarm.layout.count} pieces", swarm,
                    )  # fmt: skip
        if self.left:
            raise self.violation(f"{self.left} downloads never began", None)

    def violation(self, what: str, swarm: SimSwarm | None) -> Violation:
        """An error that says where and when, with the story of the swarm if there is one."""
        where = f"host {swarm.host.number}, blob {swarm.blob}" if swarm else "unknown host"
        story = told(swarm.story if swarm else None)
        return Violation(
            f"seed {self.scenario.seed}, {self.agenda.now:.6f} s, {where}: {what}{story}",
            seed=self.scenario.seed,
        )

    @property
    def transcript(self) -> str:
        """A hash over who had which piece when, and who was done when."""
        return self._transcript.hexdigest()
