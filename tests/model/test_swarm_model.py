"""Several engines among themselves: whatever the order of events, everyone completes."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.layout import LEAF_BYTES, Layout
from octopull.kernel import bitfield
from octopull.kernel.peers import Peer
from octopull.swarm.engine import Engine
from octopull.swarm.events import (
    Announce,
    Arrived,
    Close,
    Command,
    Connected,
    Dial,
    Dialed,
    Disconnected,
    Discovered,
    Event,
    GaveUp,
    Received,
    Refused,
    Send,
    Serve,
    Served,
    Skip,
    Started,
    Take,
    Ticked,
    Verified,
    WakeAt,
    Withdraw,
)  # fmt: skip
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Goodbye, PieceHead, Reject, Request

LIMITS = SwarmLimits(depth_max=2, corrupt_ban_s=20.0, give_up_s=1e9, seeder_idle_s=1e9)
STEPS_MAX = 60_000


@dataclass
class Node:
    """One peer of the world: its engine, and what is under way to it, per connection in order."""

    peer: Peer
    engine: Engine
    liar: bool
    mute: bool
    wake: float | None = None
    inbox: dict[int, deque[Event]] = field(default_factory=dict)
    ends: dict[int, tuple["Node", int]] = field(default_factory=dict)
    queue: dict[int, deque[int]] = field(default_factory=dict)
    served: int = 0


class World:
    """Engines, connections and chance; safety is checked after every event."""

    def __init__(self, hosts: int, pieces: int, liars: int, seed: int, mutes: int = 0) -> None:
        self.random = Random(seed)
        self.layout = Layout(pieces * LEAF_BYTES, LEAF_BYTES)
        self.now = 0.0
        self.conns = 0
        self.idle = 0
        self.nodes: list[Node] = []
        self.unanswered: set[tuple[int, int]] = set()
        for number in range(hosts):
            whole = number <= liars + mutes
            have = bitfield.full(pieces) if whole else self.random.choice((0, self.some(pieces)))
            me = Peer(id=f"{number + 1:040x}", host="h", port=1)
            engine = Engine(me=me.id, layout=self.layout, have=have, limits=LIMITS, salt=seed)
            liar, mute = 0 < number <= liars, liars < number <= liars + mutes
            self.nodes.append(Node(me, engine, liar=liar, mute=mute))
        for node in self.nodes:
            self.tell(node, Started())

    def some(self, pieces: int) -> int:
        return self.random.getrandbits(pieces)

    def tell(self, node: Node, event: Event) -> None:
        commands = node.engine.handle(event, self.now)
        node.engine.validate()
        for command in commands:
            self.obey(node, command)

    def asked(self, conn: int, piece: int) -> None:
        """A request left by ``conn``: none for the piece may be open there."""
        assert (conn, piece) not in self.unanswered, "asked again before it was answered"
        self.unanswered.add((conn, piece))

    def answered(self, node: Node, conn: int, piece: int) -> None:
        """A head or rejection leaves for ``node``: it answers one request, unless that hung up."""
        if conn not in node.ends:
            return
        assert (conn, piece) in self.unanswered, "answered twice, or without a request"
        self.unanswered.remove((conn, piece))

    def post(self, node: Node, conn: int, event: Event) -> None:
        if conn in node.ends:
            other, theirs = node.ends[conn]
            other.inbox.setdefault(theirs, deque()).append(event)

    def obey(self, node: Node, command: Command) -> None:
        match command:
            case Send(conn, message):
                if conn in node.ends:
                    if isinstance(message, Request):
                        self.asked(conn, message.piece)
                    elif isinstance(message, Reject):
                        self.answered(*node.ends[conn], message.piece)
                    self.post(node, conn, Received(node.ends[conn][1], message))
            case Serve(conn, piece):
                node.queue.setdefault(conn, deque()).append(piece)
            case Withdraw(conn, piece):
                if piece in node.queue.get(conn, ()):
                    node.queue[conn].remove(piece)
                    self.answered(*node.ends[conn], piece)
                    self.post(node, conn, Received(node.ends[conn][1], Reject(piece)))
            case Take(conn, piece):
                node.inbox.setdefault(conn, deque()).appendleft(Arrived(conn, piece))
            case Dial(peer):
                self.dial(node, next(n for n in self.nodes if n.peer == peer))
            case Close(conn):
                self.part(node, conn, Goodbye(command.reason))
            case Announce():
                others = tuple(n.peer for n in self.nodes if n is not node)
                node.inbox.setdefault(0, deque()).append(Discovered(others, 3.0))
            case WakeAt(when):
                node.wake = when
            case Skip() | GaveUp():
                pass

    def dial(self, node: Node, other: Node) -> None:
        self.conns += 1
        here, there = 2 * self.conns, 2 * self.conns + 1
        node.ends[here], other.ends[there] = (other, there), (node, here)
        ours, theirs = node.engine.have, other.engine.have
        node.inbox[here] = deque([Connected(here, other.peer, Dialed.BY_US, theirs, ours)])
        other.inbox[there] = deque([Connected(there, node.peer, Dialed.BY_THEM, ours, theirs)])

    def part(self, node: Node, conn: int, last: Goodbye | None) -> None:
        if conn not in node.ends:
            return
        other, theirs = node.ends.pop(conn)
        gone = {conn, theirs}
        self.unanswered = {open_ for open_ in self.unanswered if open_[0] not in gone}
        node.inbox.pop(conn, None)
        node.queue.pop(conn, None)
        other.inbox.setdefault(theirs, deque())
        if last is not None:
            other.inbox[theirs].append(Received(theirs, last))
        other.inbox[theirs].append(Disconnected(theirs))

    def cut(self) -> None:
        """Break one connection without a word."""
        node = self.random.choice(self.nodes)
        if node.ends:
            conn = self.random.choice(sorted(node.ends))
            self.part(node, conn, None)
            self.tell(node, Disconnected(conn))

    def deliver(self, node: Node, event: Event) -> None:
        """A body is proven only once it arrived, and even if its connection is gone by then."""
        if isinstance(event, Arrived):
            lies = node.ends[event.conn][0].liar
            outcome = Refused if lies else Verified
            node.inbox.setdefault(-event.conn, deque()).append(outcome(event.conn, event.piece))
        self.tell(node, event)

    def step(self) -> bool:
        """Let one thing happen, chosen by chance; False if nothing can but time."""
        choices: list[tuple[Node, int | None]] = [
            (n, conn) for n in self.nodes for conn, events in sorted(n.inbox.items()) if events
        ]
        choices += [(n, None) for n in self.nodes if not n.mute for q in n.queue.values() if q]
        if not choices:
            return False
        node, conn = self.random.choice(choices)
        if conn is not None:
            self.deliver(node, node.inbox[conn].popleft())
            return True
        conn = self.random.choice(sorted(c for c, q in node.queue.items() if q))
        piece = node.queue[conn].popleft()
        if conn in node.ends:
            self.answered(*node.ends[conn], piece)
            head = PieceHead(piece, self.layout.span(piece)[1])
            self.post(node, conn, Received(node.ends[conn][1], head))
            node.served += 1
            self.tell(node, Served(conn, piece))
        return True

    def settle(self) -> None:
        """Let all that is under way arrive; then no live connection waits for an answer."""
        for _ in range(STEPS_MAX):
            if not self.step():
                break
        assert not self.unanswered

    def run(self, cuts: int) -> None:
        for step in range(STEPS_MAX):
            if all(node.engine.complete for node in self.nodes):
                return
            if cuts and step % 50 == 49:
                cuts -= 1
                self.cut()
            if not self.step():
                wake = min(node.wake for node in self.nodes if node.wake is not None)
                self.idle = self.idle + 1 if wake <= self.now else 0
                assert self.idle < 20, "the clock stands still and nothing happens"
                self.now = wake
                for node in self.nodes:
                    if node.wake is not None and node.wake <= self.now:
                        node.wake = None
                        self.tell(node, Ticked())
        pytest.fail("the swarm does not end")


@given(st.integers(2, 7), st.integers(1, 24), st.integers(0, 2**32))
def test_everyone_completes_whatever_the_order_of_events(
    hosts: int, pieces: int, seed: int
) -> None:
    world = World(hosts, pieces, 0, seed)
    world.run(cuts=0)
    world.settle()


@given(st.integers(4, 8), st.integers(1, 16), st.integers(1, 2), st.integers(0, 2**32))
def test_everyone_completes_among_liars_and_broken_connections(
    hosts: int, pieces: int, liars: int, seed: int
) -> None:
    World(hosts, pieces, liars, seed).run(cuts=10)


@given(st.integers(5, 8), st.integers(1, 16), st.integers(1, 2), st.integers(0, 2**32))
def test_everyone_completes_among_peers_that_never_answer(
    hosts: int, pieces: int, mutes: int, seed: int
) -> None:
    World(hosts, pieces, 1, seed, mutes).run(cuts=5)


def test_leechers_serve_most_of_what_leechers_get() -> None:
    world = World(hosts=8, pieces=64, liars=0, seed=3)
    world.run(cuts=0)
    bodies = sum(node.served for node in world.nodes)
    assert bodies < 1.2 * 7 * 64
    assert world.nodes[0].served < 0.6 * bodies
