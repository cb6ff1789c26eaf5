"""Keys of blobs: as docker-registry and Kraken name them, and no two alike."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from octopull.backends.contract import check_key
from octopull.backends.layouts import blob_key, metainfo_key
from octopull.config.backends import BlobLayout
from octopull.kernel.digest import Digest

HEX = "0123456789abcdef"
DIGESTS = st.one_of(
    st.text(HEX, min_size=64, max_size=64).map("sha256:{}".format),
    st.text(HEX, min_size=128, max_size=128).map("sha512:{}".format),
).map(Digest.parse)


def keys(layout: BlobLayout, digests: Iterable[Digest]) -> list[str]:
    return [key(layout, one) for one in digests for key in (blob_key, metainfo_key)]


def test_the_layouts_are_those_of_docker_registry_and_kraken() -> None:
    digest = Digest.parse("sha256:" + "ab" * 32)
    sharded, identity = BlobLayout.SHARDED_DOCKER_BLOB, BlobLayout.IDENTITY
    folder = f"docker/registry/v2/blobs/sha256/ab/{'ab' * 32}"
    assert blob_key(sharded, digest) == f"{folder}/data"
    assert metainfo_key(sharded, digest) == f"{folder}/octopull.metainfo"
    assert blob_key(identity, digest) == "ab" * 32
    longer = Digest.parse("sha512:" + "ab" * 64)
    assert blob_key(sharded, longer) == f"docker/registry/v2/blobs/sha512/ab/{'ab' * 64}/data"
    assert blob_key(identity, longer) == f"sha512/{'ab' * 64}"


@given(st.sets(DIGESTS, max_size=20), st.sampled_from(BlobLayout))
def test_distinct_blobs_have_distinct_keys_of_which_none_is_a_folder_of_others(
    digests: set[Digest], layout: BlobLayout
) -> None:
    found = keys(layout, digests)
    assert len(set(found)) == 2 * len(digests)
    assert all(check_key(key) == key for key in found)
    assert not any(other.startswith(f"{key}/") for key in found for other in found)
