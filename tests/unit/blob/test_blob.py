import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.hashing import LeafHasher, hash_piece
from octopull.blob.layout import LEAF_BYTES, PIECE_BYTES_MAX, Layout, piece_length_for
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.outline import Outline
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt, Misuse

lengths = st.sampled_from([LEAF_BYTES, 2 * LEAF_BYTES, 8 * LEAF_BYTES])


@given(st.integers(0, 40 * LEAF_BYTES), lengths)
def test_the_pieces_tile_the_blob(size: int, piece_length: int) -> None:
    layout = Layout(size, piece_length)
    end = 0
    for piece in range(layout.count):
        start, length = layout.span(piece)
        assert start == end
        assert 0 < length <= piece_length
        assert layout.piece_at(start) == layout.piece_at(start + length - 1) == piece
        end = start + length
        assert layout.prefix_bytes(piece + 1) == end
    assert end == size


@given(st.integers(0, 2**45))
def test_a_blob_of_any_size_has_a_lawful_piece_length(size: int) -> None:
    assert LEAF_BYTES <= piece_length_for(size) <= PIECE_BYTES_MAX
    Layout(size, piece_length_for(size))


@pytest.mark.parametrize("piece", [-1, 2])
def test_a_piece_outside_the_blob_is_refused(piece: int) -> None:
    with pytest.raises(Misuse):
        Layout(LEAF_BYTES + 1, LEAF_BYTES).span(piece)


@given(st.integers(0, 3 * LEAF_BYTES), st.lists(st.integers(1, LEAF_BYTES), max_size=5), lengths)
def test_one_pass_in_any_slices_gives_the_hash_of_each_piece(
    size: int, cuts: list[int], piece_length: int
) -> None:
    content = (b"octopull" * (size // 8 + 1))[:size]
    hasher, rest = LeafHasher(), content
    for cut in [*cuts, size]:
        hasher.update(rest[:cut])
        rest = rest[cut:]
    layout = Layout(size, piece_length)
    spans = [layout.span(piece) for piece in range(layout.count)]
    expected = [hash_piece(content[start : start + length]) for start, length in spans]
    assert list(hasher.piece_hashes(piece_length)) == expected


algorithms = st.sampled_from(Algorithm)


def describe(size: int, algorithm: Algorithm) -> Metainfo:
    layout = Layout(size, LEAF_BYTES)
    hashes = tuple(bytes([n] * 32) for n in range(layout.count))
    return Metainfo(Digest.of(b"x", algorithm), layout, hashes)


@given(st.integers(0, 9 * LEAF_BYTES), algorithms)
def test_metainfo_survives_the_wire(size: int, algorithm: Algorithm) -> None:
    metainfo = describe(size, algorithm)
    again = Metainfo.decode(metainfo.encode())
    assert again == metainfo
    assert again.info_hash == metainfo.info_hash


@given(st.binary(max_size=120), st.integers(0, 150), algorithms)
def test_hostile_metainfo_is_corrupt_or_sound(noise: bytes, at: int, algorithm: Algorithm) -> None:
    encoded = describe(2 * LEAF_BYTES, algorithm).encode()
    for hostile in (noise, encoded[:at] + noise + encoded[at:], encoded[:at]):
        try:
            metainfo = Metainfo.decode(hostile)
        except Corrupt:
            continue
        assert metainfo.encode() == hostile


@given(st.integers(1, 9 * LEAF_BYTES), st.sampled_from([1, 2, 4]), st.integers(0, 9))
def test_hashes_of_whole_pieces_are_those_of_all_pieces(size: int, leaves: int, first: int) -> None:
    hasher = LeafHasher()
    hasher.update(random.Random(size).randbytes(size))
    whole = size // (leaves * LEAF_BYTES)
    expected = hasher.piece_hashes(leaves * LEAF_BYTES)[:whole]
    assert tuple(hasher.whole_pieces(leaves * LEAF_BYTES, first)) == expected[first:]


@given(st.integers(0, 9 * LEAF_BYTES), algorithms)
def test_a_swarm_has_its_name_before_its_pieces_are_hashed(size: int, algorithm: Algorithm) -> None:
    metainfo = describe(size, algorithm)
    outline, end = Outline.decode(metainfo.encode())
    assert outline == Outline(metainfo.digest, metainfo.layout)
    assert outline.info_hash == metainfo.info_hash
    assert outline.encode() == metainfo.encode()[:end]
    assert outline.info_hash != describe(size + 1, algorithm).info_hash


@given(st.binary(max_size=120), st.integers(0, 250), st.integers(0, 3), st.integers(0, 3))
def test_hostile_growing_metainfo_is_corrupt_or_sound(
    noise: bytes, at: int, first: int, known: int
) -> None:
    layout = Layout(3 * LEAF_BYTES, LEAF_BYTES)
    first, known = sorted((first, known))
    hashes = tuple(bytes([n] * 32) for n in range(first, known))
    encoded = Growing(Outline(Digest.of(b"x"), layout), first, hashes).encode()
    for hostile in (noise, encoded[:at] + noise + encoded[at:], encoded[:at]):
        try:
            growing = Growing.decode(hostile)
        except Corrupt:
            continue
        assert growing.encode() == hostile
        assert 0 <= growing.first <= growing.known <= growing.outline.layout.count
