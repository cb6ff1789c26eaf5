import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel import bitfield
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import PeerFault
from octopull.kernel.peers import Peer, PeerKind
from octopull.swarm.codec import LENGTH, PIECES_MAX, WAITING_MAX, Decoder, encode
from octopull.swarm.messages import (
    Cancel,
    Goodbye,
    Handshake,
    Have,
    Haves,
    Hungry,
    Lacks,
    Message,
    PieceHead,
    Reason,
    Reject,
    Request,
    Sated,
    Wanted,
)  # fmt: skip

FRAME_BYTES_MAX = 1024

pieces = st.integers(0, 2**32 - 1)
peers = st.builds(
    Peer,
    id=st.text("0123456789abcdef", min_size=40, max_size=40),
    host=st.sampled_from(["127.0.0.1", "::1", "host.example"]),
    port=st.integers(1, 65535),
    kind=st.sampled_from(PeerKind),
    zone=st.sampled_from(["", "zone-a"]),
)
handshakes = st.builds(
    Handshake,
    info_hash=st.binary(min_size=32, max_size=32),
    digest=st.builds(Digest.of, st.binary(), st.sampled_from(Algorithm)),
    namespace=st.sampled_from(["library/nginx", "a"]),
    peer=peers,
    packed=st.binary(max_size=100),
)
sets = st.sets(st.integers(0, 2000), min_size=1).map(bitfield.of)
far_sets = st.integers(0, PIECES_MAX // 8 - 1).map(lambda first: 0b10000001 << 8 * first)
plain = st.one_of(
    st.builds(Haves, st.one_of(sets, far_sets)), st.builds(Hungry), st.builds(Sated),
    st.builds(Have, pieces), st.builds(Lacks, pieces), st.builds(Wanted, pieces), st.builds(Request, pieces), st.builds(Cancel, pieces),
    st.builds(Reject, pieces), st.builds(Goodbye, st.sampled_from(Reason)), handshakes,
)  # fmt: skip


@given(st.lists(plain, max_size=8), st.data())
def test_slicing_the_stream_never_changes_what_was_said(
    said: list[Message], data: st.DataObject
) -> None:
    stream = b"".join(map(encode, said))
    decoder, heard = Decoder(FRAME_BYTES_MAX), list[Message]()
    while stream:
        size = data.draw(st.integers(1, len(stream)), label="slice")
        heard += decoder.feed(stream[:size])
        stream = stream[size:]
    assert heard == said


@given(pieces, st.binary(min_size=1, max_size=300), plain, st.integers(1, 400))
def test_a_body_is_handed_over_untouched_and_messages_go_on_behind_it(
    piece: int, body: bytes, behind: Message, cut: int
) -> None:
    stream = encode(PieceHead(piece, len(body))) + body + encode(behind)
    decoder = Decoder(FRAME_BYTES_MAX)
    taken, heard = b"", list[Message]()
    for part in (stream[:cut], stream[cut:]):
        rest = part
        if not heard:
            for message in decoder.feed(rest):
                heard.append(message)
                break
            if not heard:
                continue
            rest = decoder.drain()
        want = len(body) - len(taken)
        taken, rest = taken + rest[:want], rest[want:]
        if len(taken) == len(body):
            heard += decoder.feed(rest)
    assert taken == body
    assert heard == [PieceHead(piece, len(body)), behind]


# Bare noise seldom passes the length check, so most of it comes well framed.
framed_noise = st.binary(max_size=FRAME_BYTES_MAX).map(
    lambda frame: LENGTH.pack(len(frame)) + frame
)
bent = st.tuples(handshakes, st.integers(5, 190), st.binary(min_size=1, max_size=3)).map(
    lambda parts: encode(parts[0])[: parts[1]] + parts[2] + encode(parts[0])[parts[1] + 1 :]
)


@given(st.one_of(framed_noise, bent, st.binary(max_size=300)))
def test_hostile_bytes_are_a_peer_fault_or_nothing(noise: bytes) -> None:
    with contextlib.suppress(PeerFault):
        list(Decoder(FRAME_BYTES_MAX).feed(noise))


@given(handshakes, st.sampled_from([(13, "version"), (46, "digest"), (47, "digest")]))
def test_a_handshake_of_another_version_or_algorithm_is_refused(
    said: Handshake, changed: tuple[int, str]
) -> None:
    at, word = changed
    frame = bytearray(encode(said))
    frame[at] ^= 0x80
    with pytest.raises(PeerFault, match=word):
        list(Decoder(FRAME_BYTES_MAX).feed(memoryview(frame)))


def test_a_line_longer_than_a_head_can_tell_is_told_as_the_longest() -> None:
    frame = encode(PieceHead(1, 2, WAITING_MAX + 5))
    assert list(Decoder(FRAME_BYTES_MAX).feed(frame)) == [PieceHead(1, 2, WAITING_MAX)]


def test_a_long_frame_is_refused_on_its_length_alone() -> None:
    decoder = Decoder(FRAME_BYTES_MAX)
    try:
        list(decoder.feed(LENGTH.pack(FRAME_BYTES_MAX + 1)))
    except PeerFault:
        return
    raise AssertionError("taken")
