"""Peers hear of a piece when its body begins to come: transcripts of what then becomes of it."""

import pytest

from octopull.blob.layout import LEAF_BYTES
from octopull.swarm.events import (
    Arrived,
    Close,
    Disconnected,
    Received,
    Refused,
    Send,
    Serve,
    Ticked,
    Verified,
)  # fmt: skip
from octopull.swarm.messages import Cancel, Have, Lacks, PieceHead, Reason, Reject, Request
from support.transcript import Transcript, begun

SEEDER, EAGER = 1, 2
HEAD = Received(SEEDER, PieceHead(0, LEAF_BYTES))
ASKED = Received(EAGER, Request(0))


def promised(**limits: float) -> Transcript:
    """A leecher of one piece, which begins to come; a peer that lacks it has just heard so."""
    t = begun(1, **limits)
    t.told(t.opened("seeder"), t.opened("eager", holds=0), HEAD)
    assert Send(EAGER, Have(0)) in t.ordered(Send)
    return t


def served(t: Transcript) -> list[tuple[int, int]]:
    """The connections that now get a body, and of which piece."""
    return [(one.conn, one.piece) for one in t.ordered(Serve) if isinstance(one, Serve)]


def proven(t: Transcript) -> Transcript:
    return t.told(Arrived(SEEDER, 0), Verified(SEEDER, 0))


def test_a_request_waits_until_the_piece_is_proven() -> None:
    t = promised()
    t.told(ASKED).orders()
    t.told(Arrived(SEEDER, 0)).orders()
    t.told(Verified(SEEDER, 0))
    assert served(t) == [(EAGER, 0)]
    # It knows already.
    assert Send(EAGER, Have(0)) not in t.ordered(Send)


def test_a_request_that_comes_once_the_piece_is_proven_is_served_as_ever() -> None:
    t = proven(promised())
    assert served(t.told(ASKED)) == [(EAGER, 0)]


def test_a_request_that_waits_can_be_cancelled_and_made_again() -> None:
    t = promised()
    t.told(ASKED, Received(EAGER, Cancel(0))).orders(Send(EAGER, Reject(0)))
    t.told(ASKED).orders()
    proven(t)
    assert served(t) == [(EAGER, 0)]


@pytest.mark.parametrize("how", ["corrupt", "its sender goes", "too late"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_piece_that_does_not_come_is_taken_back_and_told_again_once_it_is_there(
    how: str, asked: bool
) -> None:
    t = promised(promise_s=2.0)
    if asked:
        t.told(ASKED)
    match how:
        case "corrupt":
            t.told(Arrived(SEEDER, 0), Refused(SEEDER, 0))
        case "its sender goes":
            t.told(Disconnected(SEEDER))
        case _:
            t.after(1.9).told(Ticked())
            assert Send(EAGER, Lacks(0)) not in t.ordered(Send)
            assert t.wake is not None
            assert t.wake <= 2.0
            t.after(0.1).told(Ticked())
    answered = [Send(EAGER, Reject(0))] if asked else []
    said = [one for one in t.ordered(Send) if one.conn == EAGER]
    assert said == [*answered, Send(EAGER, Lacks(0))]
    # Another request may have been on its way meanwhile.
    t.told(ASKED).orders(Send(EAGER, Reject(0)))
    if how != "too late":
        t.told(t.opened("other"), Received(3, PieceHead(0, LEAF_BYTES)))
        assert Send(EAGER, Have(0)) in t.ordered(Send)
        t.told(Arrived(3, 0), Verified(3, 0))
    else:
        proven(t)
        assert Send(EAGER, Have(0)) in t.ordered(Send)
    t.told(ASKED)
    assert served(t) == [(EAGER, 0)]


def test_what_was_never_told_of_is_still_not_to_be_asked_for() -> None:
    t = begun(2, window=1)
    t.told(t.opened("seeder"), t.opened("eager", holds=0), Received(EAGER, Request(0)))
    assert t.ordered(Close) == [Close(EAGER, Reason.FAULT, "asks for what we never offered")]


def test_pieces_that_take_long_are_told_of_once_they_are_there() -> None:
    t = begun(2, window=1, promise_s=2.0)
    t.told(t.opened("seeder"), t.opened("eager", holds=0))
    for last in (False, True):
        piece = next(iter(t.engine._pieces._askers))
        t.after(2.1).told(Received(SEEDER, PieceHead(piece, LEAF_BYTES)))
        # How long they take is known from the first on.
        assert (Send(EAGER, Have(piece)) in t.ordered(Send)) is not last
        t.told(Arrived(SEEDER, piece), Verified(SEEDER, piece))
    assert Send(EAGER, Have(piece)) in t.ordered(Send)


def test_a_peer_that_takes_a_piece_back_is_not_asked_for_it_and_hears_when_we_have_it() -> None:
    t = begun(2, window=1)
    t.told(t.opened("poor", holds=0), Received(1, Have(0)), Received(1, Lacks(0)))
    t.told(Received(1, Reject(0))).orders()
    t.told(t.opened("seeder", holds=0), Received(2, Have(0))).orders(Send(2, Request(0)))
    t.told(Received(2, PieceHead(0, LEAF_BYTES)))
    assert Send(1, Have(0)) in t.ordered(Send)


def test_a_peer_that_takes_back_what_we_hold_hears_so() -> None:
    t = begun(2)
    t.told(t.opened("seeder"), t.opened("poor"), HEAD)
    proven(t)
    assert Send(EAGER, Have(0)) not in t.ordered(Send)
    t.told(Received(EAGER, Lacks(0))).orders(Send(EAGER, Have(0)))


def test_taking_back_what_was_never_told_changes_nothing() -> None:
    t = begun(2)
    t.told(t.opened("poor", holds=0)).told(Received(1, Lacks(1))).orders()
