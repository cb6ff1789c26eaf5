"""Seals as bytes, and what is signed: every bit of what an origin says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.layout import Layout
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.outline import Outline
from octopull.blob.seal import CHAIN_MAX, SEAL_BYTES_MAX, Seal, statement
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Misuse

LAYOUT = Layout(600_000, 262_144)
HASHES = tuple(bytes([piece] * 32) for piece in range(LAYOUT.count))
METAINFO = Metainfo(Digest.of(b"a blob"), LAYOUT, HASHES)
GROWING = Growing(METAINFO.outline, 0, HASHES)

chains = st.lists(st.binary(max_size=900), min_size=1, max_size=CHAIN_MAX).map(tuple)
seals = st.builds(Seal, st.binary(max_size=600), chains)


@given(seals)
def test_a_seal_arrives_as_it_was_sent(seal: Seal) -> None:
    assert Seal.decode(seal.encode()) == seal


@given(seals, st.data())
def test_a_cut_seal_is_refused(seal: Seal, data: st.DataObject) -> None:
    encoded = seal.encode()
    with pytest.raises(Corrupt):
        Seal.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(Corrupt):
        Seal.decode(encoded + data.draw(st.binary(min_size=1, max_size=5)))


# Bare noise seldom has the version that lets it further.
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda rest: b"\1" + rest)))
def test_noise_is_a_seal_or_refused(noise: bytes) -> None:
    with contextlib.suppress(Corrupt):
        assert Seal.decode(noise).encode() == noise


@pytest.mark.parametrize("count", [0, CHAIN_MAX + 1, 255])
def test_a_chain_of_no_or_many_certificates_is_refused(count: int) -> None:
    with pytest.raises(Corrupt):
        Seal.decode(b"\1\0\0" + bytes([count]) + b"\0\0" * count)


def test_a_seal_that_is_too_long_is_neither_made_nor_read() -> None:
    with pytest.raises(Misuse):
        Seal(b"", (bytes(SEAL_BYTES_MAX),)).encode()
    with pytest.raises(Misuse):
        Seal(b"", (bytes(70_000),)).encode()
    with pytest.raises(Corrupt):
        Seal.decode(b"\1" + bytes(SEAL_BYTES_MAX))


def test_what_is_signed_differs_whatever_is_changed() -> None:
    digest, hashes = METAINFO.digest, list(HASHES)
    hashes[1] = bytes(32)
    others: list[Metainfo | Growing] = [
        GROWING,
        Growing(METAINFO.outline, 1, HASHES[1:]),
        Growing(METAINFO.outline, 0, HASHES[:-1]),
        Metainfo(digest, LAYOUT, tuple(hashes)),
        Metainfo(digest, LAYOUT, HASHES[::-1]),
        Metainfo(Digest.of(b"another"), LAYOUT, HASHES),
        Metainfo(digest, Layout(600_001, 262_144), HASHES),
        Metainfo(digest, Layout(600_000, 524_288), HASHES[:2]),
        Growing(Outline(digest, Layout(600_001, 262_144)), 0, HASHES),
    ]
    said = {statement(one) for one in (METAINFO, *others)}
    assert len(said) == 1 + len(others)
    assert statement(Metainfo(digest, LAYOUT, HASHES)) == statement(METAINFO)


def test_who_chooses_the_first_bytes_of_a_handshake_chooses_no_statement() -> None:
    assert statement(METAINFO).startswith(b" " * 64)
