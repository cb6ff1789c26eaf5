"""Fingerprints are equal for equal sets, and differ in just the ranges where sets do."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Algorithm, Digest
from octopull.placement.fingerprints import RANGES, differing, fingerprints, range_of, shelf_of

DIGESTS = st.builds(Digest.of, st.binary(max_size=2), st.sampled_from(Algorithm))
SETS = st.sets(DIGESTS, max_size=40)


@given(SETS, SETS)
def test_the_ranges_that_differ_are_those_of_what_one_lacks(
    ours: set[Digest], theirs: set[Digest]
) -> None:
    found = differing(fingerprints(ours), fingerprints(theirs))
    assert found == sorted({range_of(one) for one in ours ^ theirs})


@given(st.lists(DIGESTS, unique=True, max_size=40), st.randoms())
def test_the_order_does_not_matter(digests: list[Digest], chance: object) -> None:
    assert fingerprints(digests) == fingerprints(sorted(digests, key=str))


@given(DIGESTS)
def test_a_range_is_what_its_digests_begin_with(digest: Digest) -> None:
    assert 0 <= range_of(digest) < RANGES
    assert digest.hex.startswith(shelf_of(range_of(digest)))
