"""The swarm core in the cases that a person must be able to read."""

from dataclasses import replace

from octopull.blob.layout import LEAF_BYTES
from octopull.kernel.peers import PeerKind
from octopull.swarm.events import (
    Announce,
    AnnounceFailed,
    Arrived,
    Close,
    Completed,
    Connected,
    Dial,
    Dialed,
    DialFailed,
    Disconnected,
    Discovered,
    GaveUp,
    Learnt,
    Progressed,
    Received,
    Refused,
    Retired,
    Send,
    Serve,
    Served,
    Skip,
    Sought,
    Started,
    Take,
    Ticked,
    Verified,
    Withdraw,
)  # fmt: skip
from octopull.swarm.messages import (
    Cancel,
    Goodbye,
    Have,
    Message,
    PieceHead,
    Reason,
    Reject,
    Request,
)  # fmt: skip
from support.transcript import Transcript, begun, peer


def test_a_liar_is_dropped_and_banned_and_the_piece_comes_from_another() -> None:
    t = begun(1)
    t.told(t.opened("liar")).orders(Send(1, Request(0)))
    t.told(t.opened("honest")).orders(Send(2, Request(0)))  # endgame: nothing else is left to ask
    t.told(Received(1, PieceHead(0, LEAF_BYTES))).orders(Take(1, 0))
    t.told(Arrived(1, 0)).orders(Send(2, Cancel(0)))
    t.told(Received(2, Reject(0))).orders()
    t.told(Refused(1, 0)).orders(Close(1, Reason.FAULT, "piece 0 is corrupt"), Send(2, Request(0)))
    t.told(t.opened("liar", dialed=Dialed.BY_THEM)).orders(Close(3, Reason.FAULT, "banned"))
    t.told(Received(2, PieceHead(0, LEAF_BYTES)), Arrived(2, 0)).orders(Take(2, 0))
    t.told(Verified(2, 0)).orders(
        Completed(), Announce(), Close(2, Reason.DONE, "both have everything")
    )


def test_a_liar_that_hangs_up_before_the_proof_is_banned_all_the_same() -> None:
    t = begun(2)
    t.told(t.opened("liar"), Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0))
    t.told(Disconnected(1), Refused(1, 0)).orders()
    t.told(t.opened("liar", dialed=Dialed.BY_THEM)).orders(Close(2, Reason.FAULT, "banned"))


def test_a_liar_that_is_back_before_the_proof_is_done_is_found_on_its_new_connection() -> None:
    t = begun(2)
    t.told(t.opened("liar"), Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0))
    t.told(Disconnected(1), t.opened("liar", dialed=Dialed.BY_THEM))
    t.told(Refused(1, 0)).orders(Close(2, Reason.FAULT, "piece 0 is corrupt"))


def test_a_wrong_body_does_not_free_a_piece_whose_other_body_is_still_being_proven() -> None:
    t = begun(1)
    t.told(t.opened("liar"), t.opened("honest"), t.opened("third"))
    t.told(Received(1, PieceHead(0, LEAF_BYTES)), Received(2, PieceHead(0, LEAF_BYTES)))
    t.told(Arrived(1, 0), Arrived(2, 0), Refused(1, 0)).orders(
        Close(1, Reason.FAULT, "piece 0 is corrupt")
    )
    t.told(Verified(2, 0))
    assert t.engine.complete


def test_a_peer_that_rejects_what_it_offered_is_asked_again_only_when_it_offers_again() -> None:
    t = begun(1)
    t.told(t.opened("moody")).orders(Send(1, Request(0)))
    t.told(Received(1, Reject(0))).orders()
    t.told(Received(1, Have(0))).orders(Send(1, Request(0)))


def test_a_body_that_comes_too_late_to_be_of_use_makes_room_for_the_next_request() -> None:
    t = begun(2, depth_max=1, silence_s=8.0)
    t.told(Sought(0), t.opened("late")).orders(Send(1, Request(0)))
    t.told(t.opened("quick", holds=0)).after(8).told(Ticked()).orders(Send(1, Cancel(0)))
    t.told(Received(2, Have(0)), Received(2, PieceHead(0, LEAF_BYTES)), Arrived(2, 0))
    t.told(Verified(2, 0), Received(1, PieceHead(0, LEAF_BYTES)))
    assert t.ordered(Skip) == [Skip(1, 0)]
    assert Send(1, Request(1)) in t.ordered(Send)


def test_with_every_place_for_dials_taken_the_core_sleeps() -> None:
    t = begun(1, dials_max=2)
    t.told(Discovered(tuple(peer(name) for name in "abcdef"), 30.0))
    assert len(t.ordered(Dial)) == 2
    t.told(Ticked()).orders()
    assert t.wake is not None
    assert t.wake > t.now


def test_the_ban_of_a_liar_ends() -> None:
    t = begun(2, corrupt_ban_s=50.0)
    t.told(t.opened("liar"), Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0), Refused(1, 0))
    t.after(49).told(t.opened("liar", dialed=Dialed.BY_THEM))
    assert t.ordered(Close) == [Close(2, Reason.FAULT, "banned")]
    t.after(1).told(t.opened("liar", dialed=Dialed.BY_THEM))
    assert t.ordered(Close) == []


def test_a_staller_loses_its_requests_to_another_and_then_its_connection() -> None:
    t = begun(2, depth_max=2, silence_s=8.0, strikes_max=2, give_up_s=600.0)
    t.told(t.opened("staller"))
    assert len(t.ordered(Send)) == 2
    t.told(t.opened("late", holds=0)).orders()
    t.after(8).told(Ticked())
    assert t.ordered(Send) == [Send(1, Cancel(0)), Send(1, Cancel(1))] or t.ordered(Send) == [
        Send(1, Cancel(1)), Send(1, Cancel(0))]  # fmt: skip
    t.told(Received(2, Have(0)), Received(2, Have(1))).orders(
        Send(2, Request(0)), Send(2, Request(1))
    )
    t.told(Progressed(2)).after(7).told(Progressed(2)).after(1).told(Ticked()).orders(
        Close(1, Reason.FAULT, "does not answer")
    )


def test_a_slow_peer_that_makes_progress_is_not_a_staller() -> None:
    t = begun(1, silence_s=8.0)
    t.told(t.opened("slow"), Received(1, PieceHead(0, LEAF_BYTES))).orders(
        Send(1, Request(0)), Take(1, 0)
    )
    for _ in range(4):
        t.after(7).told(Progressed(1), Ticked())
        assert not t.ordered(Close)


def test_a_peer_that_trickles_for_ever_is_given_up() -> None:
    t = begun(1, silence_s=8.0, request_s=30.0, strikes_max=2)
    t.told(t.opened("trickler"), Received(1, PieceHead(0, LEAF_BYTES)))
    closed = False
    for _ in range(30):
        t.after(7).told(Progressed(1), Ticked())
        closed = closed or bool(t.ordered(Close))
    assert closed


def test_what_a_vanished_peer_was_asked_for_is_asked_of_another() -> None:
    t = begun(2, depth_max=2)
    t.told(t.opened("gone"))
    t.told(t.opened("there", holds=0b11)).told(Disconnected(1))
    # A message without a piece fails here as well.
    assert {c.message.piece for c in t.ordered(Send)} <= {0, 1}  # type: ignore[union-attr]
    t.told(Received(2, PieceHead(0, LEAF_BYTES)), Arrived(2, 0), Verified(2, 0))
    t.told(Received(2, PieceHead(1, LEAF_BYTES)), Arrived(2, 1), Verified(2, 1))
    assert t.engine.complete


def test_a_seeder_that_appears_late_is_found_by_a_later_announce() -> None:
    t = begun(1).told(Discovered((), 3.0)).orders()
    t.after(3).told(Ticked()).orders(Announce())
    t.told(Discovered((peer("seeder"),), 3.0)).orders(Dial(peer("seeder")))
    t.told(t.opened("seeder")).orders(Send(1, Request(0)))


def test_everyone_absent_at_first_and_the_download_completes_all_the_same() -> None:
    t = begun(1).told(AnnounceFailed()).orders()
    t.after(0.5).told(Ticked()).orders(Announce())
    t.told(Discovered((peer("origin"),), 3.0)).orders(Dial(peer("origin")))
    t.told(DialFailed(peer("origin").id)).orders()
    t.after(0.5).told(Ticked()).orders(Dial(peer("origin")), Announce())
    t.told(t.opened("origin")).orders(Send(1, Request(0)))
    t.told(Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0)).orders(Take(1, 0))
    t.told(Verified(1, 0))
    assert t.ordered(Completed) == [Completed()]


def test_a_download_without_a_byte_for_a_minute_gives_up_and_says_so() -> None:
    t = begun(2, give_up_s=60.0)
    t.after(59.9).told(Ticked())
    assert not t.ordered(GaveUp)
    t.after(0.1).told(Ticked())
    assert t.ordered(GaveUp) == [GaveUp("nothing came for 60 s; 2 of 2 pieces missing")]
    t.after(1).told(Ticked())
    assert not t.ordered(GaveUp)


def test_the_piece_a_reader_waits_for_is_asked_first() -> None:
    t = Transcript(100, depth_max=1).told(Started(), Sought(0))
    t.told(t.opened("seeder")).orders(Send(1, Request(0)))
    t.told(Sought(1), Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0))
    assert t.ordered(Send) == [Send(1, Request(1))]


def test_in_the_endgame_the_slower_of_two_is_cancelled() -> None:
    t = begun(1)
    t.told(t.opened("slow")).orders(Send(1, Request(0)))
    t.told(t.opened("fast")).orders(Send(2, Request(0)))
    t.told(t.opened("third")).orders()
    t.told(Received(2, PieceHead(0, LEAF_BYTES)), Arrived(2, 0)).orders(
        Take(2, 0), Send(1, Cancel(0))
    )
    t.told(Received(1, PieceHead(0, LEAF_BYTES))).orders(Skip(1, 0))


def test_a_piece_being_hashed_is_not_fetched_again() -> None:
    t = begun(1)
    t.told(t.opened("first"), Received(1, PieceHead(0, LEAF_BYTES)), Arrived(1, 0))
    t.told(t.opened("second")).orders()


def test_of_two_connections_to_one_peer_both_sides_keep_the_one_the_smaller_id_dialled() -> None:
    t = begun(1)
    t.told(t.opened("twin", dialed=Dialed.BY_THEM), t.opened("twin", dialed=Dialed.BY_US))
    assert t.ordered(Close) == [Close(1, Reason.DUPLICATE, "replaced")]
    t = begun(1)
    t.told(t.opened("twin", dialed=Dialed.BY_US), t.opened("twin", dialed=Dialed.BY_THEM))
    assert t.ordered(Close) == [Close(2, Reason.DUPLICATE, "connected already")]


def test_strangers_never_take_the_places_kept_for_own_dials() -> None:
    t = begun(1, connections_max=4, accepted_max=2, dials_max=4)
    for name in ("a", "b"):
        t.told(t.opened(name, holds=0, dialed=Dialed.BY_THEM))
        assert not t.ordered(Close)
    t.told(t.opened("c", holds=0, dialed=Dialed.BY_THEM)).orders(
        Close(3, Reason.FULL, "no place left")
    )
    t.told(t.opened("seeder", dialed=Dialed.BY_US)).orders(Send(4, Request(0)))


def test_a_seeder_serves_what_is_asked_and_withdraws_what_is_cancelled() -> None:
    t = Transcript(3, have=0b111).told(Started())
    t.told(t.opened("leech", holds=0, dialed=Dialed.BY_THEM)).orders()
    t.told(Received(1, Request(0)), Received(1, Request(2))).orders(Serve(1, 0), Serve(1, 2))
    t.told(Received(1, Cancel(2))).orders(Withdraw(1, 2))
    t.told(Served(1, 0)).orders()
    t.told(Received(1, Have(0)), Received(1, Have(1)), Received(1, Have(2))).orders(
        Close(1, Reason.DONE, "both have everything")
    )


def test_a_seeder_that_nobody_asks_retires_once() -> None:
    t = Transcript(1, have=1, seeder_idle_s=300.0).told(Started())
    t.told(t.opened("leech", holds=0, dialed=Dialed.BY_THEM))
    t.after(200).told(Received(1, Request(0)), Served(1, 0))
    t.after(299).told(Ticked())
    assert not t.ordered(Retired)
    t.after(1).told(Ticked())
    assert t.ordered(Retired) == [Retired()]
    t.after(400).told(Ticked())
    assert not t.ordered(Retired)


def test_broken_rules_end_the_connection_and_nothing_else() -> None:
    breaches: list[Message] = [
        Have(7), Request(7), Request(0), Reject(0), PieceHead(0, 5), PieceHead(1, LEAF_BYTES),
        PieceHead(9, LEAF_BYTES),
    ]  # fmt: skip
    for breach in breaches:
        t = begun(2, depth_max=1)
        t.told(t.opened("honest", holds=0), t.opened("rude", holds=0))
        t.told(Received(2, breach))
        assert [c.conn for c in t.ordered(Close)] == [2], breach
        t.told(Received(2, breach)).orders()
        assert t.engine.connections == 1


def test_a_goodbye_is_the_end_of_a_connection() -> None:
    t = begun(1)
    t.told(t.opened("seeder"), t.opened("other"), Received(1, Goodbye(Reason.SHUTDOWN)))
    assert t.engine.connections == 1


def test_a_piece_whose_hash_is_not_known_yet_is_not_asked_for() -> None:
    t = Transcript(3, provable=1).told(Started()).orders(Announce())
    t.told(t.opened("a")).orders(Send(1, Request(0)))
    t.told(Received(1, PieceHead(0, LEAF_BYTES, 0))).orders(Take(1, 0))
    t.told(Arrived(1, 0), Verified(1, 0)).orders()
    t.told(Learnt(1)).orders()
    t.after(30).told(Ticked())
    assert t.ordered(Close) == []  # It may be of use yet.
    t.told(Learnt(3))
    # A message without a piece fails here as well.
    assert sorted(one.message.piece for one in t.ordered(Send)) == [1, 2]  # type: ignore[union-attr]


def test_what_waits_at_a_busy_peer_is_recalled_for_one_that_would_idle() -> None:
    t = begun(3, depth_max=3)
    t.told(t.opened("busy"), Received(1, PieceHead(0, LEAF_BYTES, 9)))
    t.after(1).told(Arrived(1, 0), Verified(1, 0))  # a piece takes a second
    t.told(t.opened("idle", holds=0), Received(2, Have(1))).orders(Send(1, Cancel(1)))
    t.told(Received(1, Reject(1))).orders(Send(2, Request(1)))


def test_a_peer_that_says_its_line_is_empty_is_asked_again_beyond_the_window() -> None:
    t = begun(4, window=1, spare=1)
    t.told(Sought(0), t.opened("quick")).orders(Send(1, Request(0)))
    t.told(Received(1, PieceHead(0, LEAF_BYTES, 5))).orders(Take(1, 0))
    t.told(Arrived(1, 0), Verified(1, 0), Sought(1))
    asked = next(iter(t.engine._pieces._askers))
    t.told(Received(1, PieceHead(asked, LEAF_BYTES, 0)))
    assert len(t.ordered(Send)) == 1


def test_an_origin_is_left_alone_while_others_have_what_we_want() -> None:
    t = begun(4, window=2)
    origin = Connected(1, replace(peer("origin"), kind=PeerKind.ORIGIN), Dialed.BY_US, 0b1111, 0)
    t.told(t.opened("first", holds=0), t.opened("agent", holds=0))
    t.told(Received(1, Have(0)), Received(2, Have(1)))
    t.told(replace(origin, conn=3))
    asked = {c.conn for c in t.ordered(Send)}
    assert asked == set()
    t.told(Received(1, PieceHead(0, LEAF_BYTES, 0)), Arrived(1, 0))
    asked = {c.conn for c in t.ordered(Send) if isinstance(c.message, Request)}
    assert asked == {3}


def test_a_leecher_that_starves_gives_a_useless_connection_up_to_dial_another() -> None:
    t = begun(2, dials_max=1, connections_max=2, accepted_max=1, starve_s=4.0)
    t.told(Discovered((peer("poor"),), 30.0), t.opened("poor", holds=0))
    t.told(Discovered((peer("seeder"),), 30.0)).orders()
    t.after(4).told(Ticked()).orders(
        Close(1, Reason.FULL, "has nothing for us"), Dial(peer("seeder"))
    )


def test_a_body_that_stands_still_is_asked_for_once_more_elsewhere_and_never_again() -> None:
    t = begun(1, silence_s=600.0, request_s=600.0, give_up_s=600.0)
    t.told(t.opened("stuck"), Received(1, PieceHead(0, LEAF_BYTES)))
    t.after(1).told(t.opened("other")).orders(Send(2, Request(0)))
    t.told(Received(2, PieceHead(0, LEAF_BYTES)), Arrived(2, 0), Verified(2, 0))
    t.after(5).told(Ticked())
    assert t.ordered(Send) == []
