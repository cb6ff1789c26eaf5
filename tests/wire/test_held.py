"""What proxies and agents know of what repositories hold, while the tag index answers and after."""

from pathlib import Path

import pytest

from octopull.clients.tag_index import TagIndex
from octopull.config.services import OriginConfig, TagIndexConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.oci.manifests import Descriptor
from octopull.registry.held import Held
from octopull.services.origin.app import run as run_origin
from octopull.services.tag_index.app import run as run_tag_index
from support.services import started

PUSHED, OTHER, IMAGE, LAYER = (
    Digest.of(name) for name in (b"pushed", b"other", b"image", b"layer")
)


async def test_what_was_seen_to_be_held_counts_on_while_nobody_answers(
    http: Http, tmp_path: Path
) -> None:
    async with started(run_origin, OriginConfig(data=str(tmp_path / "origin"))) as origin:
        config = TagIndexConfig(data=str(tmp_path / "tags"), origins=[origin.address])
        async with started(run_tag_index, config) as tag_index:
            tags = TagIndex(http, [tag_index.address])
            held = Held(tags, 0.0)
            await tags.blob_pushed("a", PUSHED, to_be_held=True)
            await held.check("a", PUSHED)
            for repository, digest in (("b", PUSHED), ("a", OTHER)):
                with pytest.raises(NotFound):
                    await held.check(repository, digest)
            with pytest.raises(NotFound):
                await held.check_manifest("a", PUSHED)
            held.learn("a", IMAGE, [Descriptor("x", LAYER, 1, required=True),
                                    Descriptor("x", OTHER, 1, required=False)])  # fmt: skip
        await held.check("a", PUSHED)
        await held.check("a", LAYER)
        await held.check_manifest("a", IMAGE)
        for repository, digest in (("b", PUSHED), ("a", OTHER), ("b", LAYER)):
            with pytest.raises(Unavailable):
                await held.check(repository, digest)
        with pytest.raises(Unavailable):
            await held.check_manifest("a", PUSHED)


async def test_what_is_believed_is_not_asked_and_what_is_not_is_asked_again(
    http: Http, tmp_path: Path
) -> None:
    async with started(run_origin, OriginConfig(data=str(tmp_path / "origin"))) as origin:
        config = TagIndexConfig(data=str(tmp_path / "tags"), origins=[origin.address])
        async with started(run_tag_index, config) as tag_index:
            tags = TagIndex(http, [tag_index.address])
            believing, doubting = Held(tags, 600.0), Held(tags, 0.0)
            await tags.blob_pushed("a", PUSHED, to_be_held=True)
            for one in (believing, doubting):
                await one.check("a", PUSHED)
            await tags.delete_blob("a", PUSHED)
            await believing.check("a", PUSHED)
            with pytest.raises(NotFound):
                await doubting.check("a", PUSHED)
