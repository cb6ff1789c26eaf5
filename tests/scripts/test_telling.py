"""What peers are told of pieces, and when: transcripts of agents and of sparing seeds."""

from dataclasses import replace

from octopull.blob.layout import LEAF_BYTES
from octopull.kernel import bitfield
from octopull.kernel.peers import PeerKind
from octopull.swarm.events import (
    Acquired,
    Arrived,
    Close,
    Completed,
    Connected,
    Dialed,
    Received,
    Refused,
    Send,
    Serve,
    Served,
    Sought,
    Started,
    Ticked,
    Verified,
)  # fmt: skip
from octopull.swarm.limits import Announces, Seeding
from octopull.swarm.messages import (
    Have,
    Haves,
    PieceHead,
    Reason,
    Request,
    Sated,
    Wanted,
)  # fmt: skip
from octopull.swarm.offers import STRETCH
from support.transcript import Transcript, begun, peer


def gain(t: Transcript) -> tuple[int, list[Send]]:
    """The piece that was asked of connection 1 comes: which it was, and who is told of what."""
    piece = next(iter(t.engine._pieces._askers))
    t.told(Received(1, PieceHead(piece, LEAF_BYTES)), Arrived(1, piece), Verified(1, piece))
    return piece, news(t)


def news(t: Transcript) -> list[Send]:
    sent = [command for command in t.ordered(Send) if isinstance(command, Send)]
    return [one for one in sent if isinstance(one.message, Have | Haves)]


def test_a_peer_that_was_not_told_lately_hears_of_a_piece_at_once_and_of_the_next_in_a_while() -> (
    None
):
    t = begun(20, window=1, pause_share=0.25, batch_s=0.25)
    t.told(t.opened("seeder"), t.opened("eager", holds=0))
    first, told = gain(t.after(0.4))  # a piece takes 0.4 s, so what follows pauses for 0.1 s
    assert told == [Send(2, Have(first))]
    second, told = gain(t)
    assert told == []
    third, told = gain(t)
    assert told == []
    t.after(0.1).told(Ticked())
    assert news(t) == [Send(2, Haves(1 << second | 1 << third))]


def test_a_sated_peer_waits_longer_but_for_a_batch() -> None:
    t = begun(20, window=1, pause_share=0.25, batch_s=0.25, batch_pieces=2)
    t.told(t.opened("seeder"), t.opened("calm", holds=0), Received(2, Sated()))
    first, told = gain(t.after(0.4))
    assert told == [Send(2, Have(first))]
    second, told = gain(t)
    t.after(0.1).told(Ticked())
    assert told == news(t) == []
    third, told = gain(t)
    assert told == [Send(2, Haves(1 << second | 1 << third))]
    fourth, told = gain(t)
    t.after(0.25).told(Ticked())
    assert news(t) == [Send(2, Have(fourth))]


def test_what_a_hungry_peer_waits_to_hear_leaves_with_a_request() -> None:
    t = begun(3, window=2, batch_s=60.0, pause_share=1000.0)
    t.told(t.opened("seeder", holds=0b011), t.opened("other", holds=0))
    gain(t.after(0.4))
    second, told = gain(t)
    assert told == []
    t.told(Received(2, Have(2))).orders(Send(2, Request(2)), Send(2, Have(second)))


def test_a_sparing_seed_shows_the_pieces_of_one_stretch_before_those_of_the_next() -> None:
    pieces = 3 * STRETCH
    t = Transcript(pieces, have=bitfield.full(pieces), seeding=Seeding.SPARING, shown_max=8)
    t.told(Started())
    shown = list[int]()
    for conn, name in enumerate("abcde"):
        t.told(Connected(conn, peer(name), Dialed.BY_THEM, 0, 0))
        (told,) = t.ordered(Send)
        assert isinstance(told.message, Haves)
        shown.append(told.message.pieces)
    first, second = shown[:4], shown[4]
    assert sum(first) == bitfield.full(STRETCH)
    assert second & bitfield.full(2 * STRETCH) == second


def test_a_sparing_seed_shows_each_peer_other_pieces_and_goes_on_as_they_take_them() -> None:
    t = Transcript(8, have=0xFF, seeding=Seeding.SPARING, shown_max=2).told(Started())
    assert t.engine.greeting == 0
    t.told(Connected(1, peer("a"), Dialed.BY_THEM, 0, 0))
    (shown_a,) = t.ordered(Send)
    t.told(Connected(2, peer("b"), Dialed.BY_THEM, 0, 0))
    (shown_b,) = t.ordered(Send)
    assert isinstance(shown_a.message, Haves)
    assert isinstance(shown_b.message, Haves)
    of_a, of_b = shown_a.message.pieces, shown_b.message.pieces
    assert of_a.bit_count() == of_b.bit_count() == 2
    assert not of_a & of_b
    piece = bitfield.first(of_a)
    t.told(Received(1, Request(piece))).orders(Serve(1, piece, 1))
    t.told(Served(1, piece))
    (further,) = t.ordered(Send)
    assert isinstance(further.message, Have)
    assert not 1 << further.message.piece & (of_a | of_b)
    hidden = bitfield.first(of_b)
    t.told(Received(1, Request(hidden)))
    assert t.ordered(Close) == [Close(1, Reason.FAULT, "asks for what we never offered")]


def test_an_origin_that_hides_it_is_told_which_piece_a_reader_waits_for() -> None:
    origin = replace(peer("origin"), kind=PeerKind.ORIGIN)
    t = begun(8).told(Sought(3))
    t.told(Connected(1, origin, Dialed.BY_US, 0, 0)).orders(Send(1, Wanted(3)))
    t.told(Received(1, Have(3))).orders(Send(1, Request(3)))
    t.told(Sought(3)).orders()
    t.told(Sought(5)).orders(Send(1, Wanted(5)))


def test_an_origin_is_told_what_a_reader_waits_for_once_the_only_peer_that_had_it_is_gone() -> None:
    origin = replace(peer("origin"), kind=PeerKind.ORIGIN)
    t = begun(2, depth_max=1)
    t.told(Sought(0), t.opened("liar")).orders(Send(1, Request(0)))
    t.told(Connected(2, origin, Dialed.BY_US, 0, 0)).orders()
    t.told(Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0), Refused(1, 0))
    assert Send(2, Wanted(0)) in t.ordered(Send)
    t.told(Received(2, Have(0))).orders(Send(2, Request(0)))


def test_a_sparing_seed_shows_a_wanted_piece_to_the_first_who_wants_it() -> None:
    t = Transcript(64, have=2**64 - 1, seeding=Seeding.SPARING, shown_max=1).told(Started())
    for conn, name in ((1, "a"), (2, "b")):
        t.told(Connected(conn, peer(name), Dialed.BY_THEM, 0, 0))
    wanted = next(n for n in range(64) if t.engine._picker.holders(n) == 0)
    t.told(Received(1, Wanted(wanted))).orders(Send(1, Have(wanted)))
    t.told(Received(2, Wanted(wanted))).orders()
    t.told(Received(1, Wanted(64)))
    assert [c.conn for c in t.ordered(Close)] == [1]


def test_a_seed_that_grows_shows_what_it_has_and_asks_for_nothing() -> None:
    t = Transcript(3, provable=0, seeding=Seeding.SPARING, announces=Announces.NO)
    t.told(Started()).orders()
    assert t.engine.greeting == 0
    t.told(Connected(1, peer("a"), Dialed.BY_THEM, 0, 0)).orders()
    t.told(Received(1, Wanted(0))).orders()
    t.told(Acquired(0)).orders(Send(1, Have(0)))
    t.told(Received(1, Request(0))).orders(Serve(1, 0, 1))
    t.told(Received(1, Have(0)), Served(1, 0)).orders()
    t.told(Connected(2, peer("b"), Dialed.BY_THEM, 0b111, 0)).orders()
    t.told(Acquired(1)).orders(Send(1, Have(1)))
    t.told(Acquired(1)).orders()
    t.told(Acquired(2)).orders(
        Send(1, Have(2)), Completed(), Close(2, Reason.DONE, "both have everything")
    )
    assert t.engine.complete


def test_a_seed_that_grows_shows_more_though_what_it_showed_came_from_others() -> None:
    t = Transcript(4, provable=0, seeding=Seeding.SPARING, announces=Announces.NO, shown_max=1)
    t.told(Started(), Acquired(0))
    for conn, name in ((1, "a"), (2, "b")):
        t.told(Connected(conn, peer(name), Dialed.BY_THEM, 0, 0)).orders(Send(conn, Have(0)))
    t.told(Received(1, Request(0)), Served(1, 0))
    # Now b has the piece from a, and does not say so: we hold it ourselves.
    t.told(Acquired(1)).orders(Send(1, Have(1)), Send(2, Have(1)))
