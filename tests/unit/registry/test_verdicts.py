"""What was found of signatures counts for a while, and a refusal for a moment."""

from octopull.kernel.digest import Digest
from octopull.oci.manifests import parse
from octopull.registry.access.verdicts import REFUSED_S, VERDICTS_MAX, About, As, Verdicts
from support.registry import index, manifest

IMAGE = manifest(b"{}", b"a layer")
LISTING = index(IMAGE)


def about(content: bytes, repository: str = "a") -> About:
    return About(repository, Digest.of(content))


def test_what_was_found_counts_until_its_time_is_over_and_longer_where_nobody_answers() -> None:
    verdicts = Verdicts(10.0)
    verdicts.found(about(IMAGE), As.SIGNED, 5.0)
    for now, counts in ((5.0, True), (14.9, True), (15.0, False)):
        assert verdicts.counts(about(IMAGE), As.SIGNED, now) is counts
    assert verdicts.counted(about(IMAGE), As.SIGNED)
    for other in (about(IMAGE, "b"), about(LISTING)):
        assert not verdicts.counted(other, As.SIGNED)
    assert not verdicts.counted(about(IMAGE), As.MANIFEST)


def test_a_manifest_makes_its_layers_be_blobs_and_an_index_its_images_be_manifests() -> None:
    verdicts = Verdicts(10.0)
    verdicts.vouch(about(LISTING), parse(LISTING, None), 0.0)
    for kind in (As.MANIFEST, As.BLOB):
        assert verdicts.counts(about(IMAGE), kind, 1.0)
    assert not verdicts.counts(about(b"a layer"), As.BLOB, 1.0), "nobody saw the image yet"
    verdicts.vouch(about(IMAGE), parse(IMAGE, None), 0.0)
    assert verdicts.counts(about(b"a layer"), As.BLOB, 1.0)
    assert not verdicts.counts(about(b"a layer"), As.MANIFEST, 1.0)
    assert not verdicts.counted(about(IMAGE), As.SIGNED)


def test_a_refusal_counts_for_a_moment_and_ends_what_counted_before() -> None:
    verdicts = Verdicts(10.0)
    verdicts.found(about(IMAGE), As.SIGNED, 0.0)
    verdicts.refuse(about(IMAGE), "no", 20.0)
    assert not verdicts.counted(about(IMAGE), As.SIGNED)
    assert verdicts.refusal(about(IMAGE), 20.0 + REFUSED_S / 2) == "no"
    assert verdicts.refusal(about(IMAGE), 20.0 + REFUSED_S) is None
    verdicts.found(about(IMAGE), As.SIGNED, 20.0)
    assert verdicts.refusal(about(IMAGE), 20.0) is None


def test_the_oldest_is_forgotten() -> None:
    verdicts = Verdicts(10.0)
    every = [About(f"r{number}", Digest.of(IMAGE)) for number in range(VERDICTS_MAX + 1)]
    for one in every:
        verdicts.found(one, As.BLOB, 0.0)
    assert [verdicts.counted(one, As.BLOB) for one in (every[0], every[1])] == [False, True]
