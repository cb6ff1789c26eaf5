import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel import bitfield, names, units
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import InvalidDigest, InvalidName, Misuse, PeerFault
from octopull.kernel.names import TagName
from octopull.kernel.peers import Peer

sets = st.sets(st.integers(0, 99))


@given(sets, st.integers(0, 99))
def test_a_bitfield_agrees_with_a_set(pieces: set[int], piece: int) -> None:
    bits = bitfield.of(pieces)
    assert set(bitfield.pieces(bits)) == pieces
    assert bitfield.has(bits, piece) == (piece in pieces)
    assert bitfield.unpack(bitfield.pack(bits, 100), 100) == bits
    assert bitfield.prefix(bits) == next(n for n in range(101) if n not in pieces)


@given(st.binary(max_size=20), st.integers(0, 99))
def test_a_packed_bitfield_fits_the_blob_or_is_a_peer_fault(packed: bytes, count: int) -> None:
    try:
        bits = bitfield.unpack(packed, count)
    except PeerFault:
        return
    assert bits >> count == 0
    assert bitfield.pack(bits, count) == packed


algorithms = st.sampled_from(Algorithm)


@given(st.binary(max_size=50), algorithms)
def test_a_digest_prints_and_parses_back(content: bytes, algorithm: Algorithm) -> None:
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert str(digest) == f"{algorithm}:{hashlib.new(algorithm.value, content).hexdigest()}"


@given(st.binary(max_size=50), algorithms, st.binary(max_size=5), st.binary(max_size=5))
def test_a_packed_digest_is_found_between_other_bytes(
    content: bytes, algorithm: Algorithm, before: bytes, behind: bytes
) -> None:
    digest, packed = Digest.of(content, algorithm), Digest.of(content, algorithm).pack()
    found = Digest.unpack(before + packed + behind, len(before))
    assert found == (digest, len(before) + len(packed))


# Most noise has no code that is known, so some begins like a digest.
packed_noise = st.tuples(
    st.sampled_from([b"", b"\x12", b"\x12\x20", b"\x13\x40", b"\x12\x40"]),
    st.binary(max_size=70) | st.binary(min_size=64, max_size=70),
).map(b"".join)


@given(packed_noise)
def test_hostile_bytes_are_no_digest_or_that_which_they_pack(noise: bytes) -> None:
    try:
        digest, end = Digest.unpack(noise, 0)
    except InvalidDigest:
        return
    assert digest.pack() == noise[:end]


@given(st.binary(max_size=50), st.binary(max_size=50), algorithms)
def test_a_digest_proves_its_own_bytes_and_no_others(
    content: bytes, other: bytes, algorithm: Algorithm
) -> None:
    assert Digest.of(content, algorithm).proves(content)
    assert Digest.of(content, algorithm).proves(other) == (content == other)


def test_digests_of_the_same_bytes_by_two_algorithms_are_two() -> None:
    both = {Digest.of(b"x", algorithm) for algorithm in Algorithm}
    assert len(both) == len(Algorithm) == 2
    assert sorted(both, reverse=True) == sorted(both)[::-1]


def test_an_unknown_algorithm_is_told_which_there_are() -> None:
    with pytest.raises(InvalidDigest, match="sha256 or sha512"):
        Digest.parse("md5:" + "a" * 32)


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 128,
             "sha512:" + "a" * 64, "sha512:" + "a" * 127, "sha512:" + "A" * 128, "sha384:" + "a" * 96,
             "SHA256:" + "a" * 64, "sha512", "sha256::" + "a" * 63, "a" * 64, "a" * 128, "sha256:" + "a" * 64 + "\n", "sha256:../../../etc/passwd"],
)  # fmt: skip
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["a", "library/nginx", "a.b/c_d/e__f/g-h", "0/1"])
def test_repository_names_are_taken(text: str) -> None:
    assert names.repository(text) == text


@pytest.mark.parametrize(
    "text", ["", "/", "a/", "/a", "a//b", "..", "a/../b", "A", "a b", "a:b", "a" * 256, "-a", "ä"]
)
def test_what_could_leave_a_folder_is_no_repository(text: str) -> None:
    with pytest.raises(InvalidName):
        names.repository(text)


@given(st.text(max_size=40))
def test_no_name_holds_a_dotted_or_empty_part(text: str) -> None:
    for check in (names.repository, names.namespace):
        try:
            parts = check(text).split("/")
        except InvalidName:
            continue
        assert all(part.strip(".") for part in parts)


def test_a_tag_name_needs_both_parts() -> None:
    assert TagName.parse("a/b:v1") == TagName("a/b", "v1")
    for text in ("a/b", "a:", ":v1", "a/b:v/1", "a:" + "t" * 129):
        with pytest.raises(InvalidName):
            TagName.parse(text)


def test_a_reference_with_a_colon_is_a_digest() -> None:
    digest = Digest.of(b"x")
    assert names.reference(str(digest)) == digest
    assert names.reference("latest") == "latest"
    with pytest.raises(InvalidDigest):
        names.reference("sha256:short")


@pytest.mark.parametrize(("port", "host"), [(0, "h"), (65536, "h"), (1, ""), (1, "a\nb")])
def test_a_peer_that_cannot_be_dialled_is_refused(port: int, host: str) -> None:
    with pytest.raises(Misuse):
        Peer(id="a" * 40, host=host, port=port)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_shown_with_a_binary_prefix(size: int, text: str) -> None:
    assert units.show_size(size) == text
