"""All that an image is made of."""

import pytest

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, TooLarge
from octopull.oci.manifests import MediaType
from octopull.registry.images import MANIFESTS_MAX, contents
from support.registry import LAYER, descriptor, index, manifest


class Kept:
    """Manifests by digest; counts how often each is read."""

    def __init__(self, *stored: bytes) -> None:
        self._stored = {Digest.of(one): one for one in stored}
        self.reads: list[Digest] = []

    async def __call__(self, digest: Digest) -> bytes:
        self.reads.append(digest)
        if digest not in self._stored:
            raise NotFound("no such manifest")
        return self._stored[digest]


async def test_everything_is_named_once_with_its_size() -> None:
    one, two = manifest(b"{}", b"shared", b"first"), manifest(b"{}", b"shared", b"second!")
    inner = index(one, two)
    outer = index(one, manifests=[
        descriptor(inner, MediaType.OCI_INDEX), descriptor(one, MediaType.OCI_MANIFEST)
    ])  # fmt: skip
    kept = Kept(one, two, inner, outer)
    found = await contents(kept, Digest.of(outer))
    parts = (outer, inner, one, two, b"{}", b"shared", b"first", b"second!")
    assert {row.digest: row.size for row in found} == {Digest.of(p): len(p) for p in parts}
    assert len(found) == len(parts)
    assert sorted(kept.reads) == sorted({Digest.of(p) for p in parts[:4]})
    assert [row.is_manifest for row in found] == [True] * 4 + [False] * 4


async def test_what_lives_elsewhere_is_left_out() -> None:
    foreign = descriptor(b"windows", LAYER, urls=["https://example.com/layer"])
    image = manifest(b"{}", layers=[foreign])
    assert len(await contents(Kept(image), Digest.of(image))) == 2


async def test_a_missing_manifest_is_told_and_size_has_a_limit() -> None:
    image = index(manifest(b"{}"))
    with pytest.raises(NotFound):
        await contents(Kept(image), Digest.of(image))
    many = [manifest(str(number).encode()) for number in range(MANIFESTS_MAX)]
    with pytest.raises(TooLarge):
        await contents(Kept(index(*many), *many), Digest.of(index(*many)))
