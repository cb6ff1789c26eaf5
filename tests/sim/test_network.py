"""What links do to bodies."""

import pytest

from octopull.sim.agenda import Agenda
from octopull.sim.network import Body, Link

RATE = 1e6
LATENCY_S = 0.01
QUANTUM = 10_000


class Network:
    """Links on one agenda; notes when each body has come."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.begun: dict[str, float] = {}
        self.left: dict[str, float] = {}
        self.came: dict[str, float] = {}

    def link(self, up: float = RATE, down: float = RATE, window: int = 10 * QUANTUM) -> Link:
        return Link(self.agenda, up, down, QUANTUM, window)

    def send(self, name: str, sender: Link, receiver: Link, length: int) -> Body:
        def note(book: dict[str, float]) -> None:
            book[name] = self.agenda.now

        body = Body(
            length, receiver, LATENCY_S,
            lambda: note(self.begun), lambda: note(self.left), lambda: note(self.came),
        )  # fmt: skip
        sender.send(body)
        return body

    def run(self) -> None:
        while self.agenda.step():
            pass


def test_a_body_alone_takes_the_latency_and_its_length_over_the_rate() -> None:
    net = Network()
    net.send("one", net.link(), net.link(), 100_000)
    net.run()
    assert net.begun["one"] == pytest.approx(LATENCY_S)
    assert net.left["one"] == pytest.approx(0.1)
    assert net.came["one"] == pytest.approx(0.1 + LATENCY_S)


def test_the_slower_of_two_links_sets_the_pace() -> None:
    net = Network()
    net.send("one", net.link(), net.link(down=RATE / 4), 100_000)
    net.run()
    assert net.came["one"] == pytest.approx(0.4 + LATENCY_S, rel=0.02)


def test_two_senders_share_one_receiver() -> None:
    net = Network()
    receiver = net.link()
    net.send("one", net.link(), receiver, 100_000)
    net.send("other", net.link(), receiver, 100_000)
    net.run()
    assert min(net.came.values()) > 0.18
    assert max(net.came.values()) == pytest.approx(0.2 + LATENCY_S, rel=0.02)


def test_two_receivers_share_one_sender() -> None:
    net = Network()
    sender = net.link()
    net.send("one", sender, net.link(), 100_000)
    net.send("other", sender, net.link(), 100_000)
    net.run()
    assert min(net.came.values()) > 0.18
    assert max(net.came.values()) == pytest.approx(0.2 + LATENCY_S, rel=0.02)


def test_a_sender_with_one_crowded_receiver_serves_another_meanwhile() -> None:
    net = Network()
    sender = net.link(window=2 * QUANTUM)
    net.send("crowded", sender, net.link(down=RATE / 100), 100_000)
    net.send("free", sender, net.link(), 100_000)
    net.run()
    # The window of the crowded one costs its two quanta, once or, as it drains, little more.
    assert net.came["free"] < 0.1 + LATENCY_S + 0.05 + 10 * LATENCY_S
    assert net.came["crowded"] > 9


def test_a_stalled_receiver_takes_nothing_until_it_reads_again() -> None:
    net = Network()
    receiver = net.link()
    receiver.stall(5.0)
    net.send("one", net.link(), receiver, 100_000)
    net.run()
    assert net.begun["one"] == pytest.approx(5.0)
    assert net.came["one"] == pytest.approx(5.1, rel=0.01)


def test_of_a_body_that_is_cut_nothing_is_heard_and_the_link_goes_on() -> None:
    net = Network()
    sender = net.link()
    body = net.send("cut", sender, net.link(), 100_000)
    net.send("whole", sender, net.link(), 100_000)
    net.agenda.at(0.05, lambda: setattr(body, "cut", True))
    net.run()
    assert "cut" not in net.came
    assert net.came["whole"] < 0.15 + LATENCY_S
    assert not sender.busy


def test_bytes_are_counted_on_both_sides() -> None:
    net = Network()
    sender, receiver = net.link(), net.link()
    net.send("one", sender, receiver, 123_456)
    net.run()
    assert (sender.sent, receiver.received) == (123_456, 123_456)
