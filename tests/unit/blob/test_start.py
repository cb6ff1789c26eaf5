"""Starts: what is said arrives, and nothing wrong is believed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob import start
from octopull.blob.hashing import LeafHasher
from octopull.blob.layout import Layout
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.outline import Outline
from octopull.blob.start import INLINE_BYTES_MAX, Inline, Sealed, Start
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt


def metainfo(content: bytes, algorithm: Algorithm) -> Metainfo:
    hasher = LeafHasher()
    hasher.update(content)
    layout = Layout(len(content), 256 * 1024)
    return Metainfo(Digest.of(content, algorithm), layout, hasher.piece_hashes(256 * 1024))


def growing(size: int, first: int, known: int) -> Growing:
    layout = Layout(size, 256 * 1024)
    first, known = sorted((first % (layout.count + 1), known % (layout.count + 1)))
    hashes = tuple(bytes([piece % 256] * 32) for piece in range(first, known))
    return Growing(Outline(Digest.of(b"x"), layout), first, hashes)


blobs = st.binary(max_size=300)
algorithms = st.sampled_from(Algorithm)
described = st.one_of(
    st.builds(metainfo, blobs, algorithms),
    st.builds(growing, st.integers(0, 5_000_000), st.integers(0, 30), st.integers(0, 30)),
)
starts = st.one_of(
    st.builds(lambda content, by: Inline(Digest.of(content, by), content), blobs, algorithms),
    described,
    st.builds(Sealed, described, st.binary(max_size=100)),
)


@given(st.lists(starts, max_size=5))
def test_what_was_said_arrives(said: list[Start]) -> None:
    assert start.decode(b"".join(map(start.encode, said))) == said


@given(starts)
def test_without_its_seal_a_start_is_what_it_was_before(said: Start) -> None:
    assert start.unsealed(start.encode(said)) == start.encode(start.plain(said))


@given(st.lists(starts, min_size=1, max_size=3), st.data())
def test_a_changed_byte_or_a_cut_is_never_believed(said: list[Start], data: st.DataObject) -> None:
    encoded = bytearray(b"".join(map(start.encode, said)))
    at = data.draw(st.integers(0, len(encoded) - 1))
    if data.draw(st.booleans(), label="cut"):
        encoded = encoded[:at]
    else:
        encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        heard = start.decode(bytes(encoded))
    except Corrupt:
        return
    for one in heard:
        if isinstance(one, Inline):
            assert one.digest.proves(one.content)


@given(st.binary(max_size=200))
def test_noise_is_corrupt_or_nothing(noise: bytes) -> None:
    with contextlib.suppress(Corrupt):
        assert not noise or start.decode(noise)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_bytes_of_another_digest_are_refused(algorithm: Algorithm) -> None:
    lie = Inline(Digest.of(b"wanted", algorithm), b"other")
    with pytest.raises(Corrupt, match="another digest"):
        start.decode(start.encode(lie))


def test_a_blob_of_more_than_one_piece_is_not_carried_whole() -> None:
    content = bytes(INLINE_BYTES_MAX + 1)
    with pytest.raises(Corrupt, match="no known kind"):
        start.decode(start.encode(Inline(Digest.of(content), content)))


def test_only_metainfo_is_sealed() -> None:
    whole = start.encode(Inline(Digest.of(b"x"), b"x"))
    packed = len(Digest.of(b"x").pack())
    for content in (b"", b"\1", b"\2\0\0x", b"\4\0\0", b"\1\xff\xffx", b"\1\0\2x"):
        lie = whole[:packed] + b"\4" + len(content).to_bytes(4, "big") + content
        with pytest.raises(Corrupt):
            start.decode(lie)


@given(st.lists(st.binary(max_size=20)), st.integers(0, 100))
def test_an_answer_stays_within_its_budget(parts: list[bytes], bytes_max: int) -> None:
    joined = start.join(parts, bytes_max)
    assert len(joined) <= bytes_max
    if sum(map(len, parts)) <= bytes_max:
        assert joined == b"".join(parts)
