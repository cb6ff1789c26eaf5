"""Much at once: pushes that share layers, many tags, and a layer beyond what 32 bits count."""

import asyncio
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oci_image import Image, Layer, build
from registry_clients import (
    Buildah,
    Containerd,
    Docker,
    Kind,
    Podman,
    Skopeo,
    contents,
    run,
    unpack,
)  # fmt: skip
from support.clients import Clients
from support.cluster import content, up
from support.golden import Transcript
from support.recording import Recorder
from support.registry import Registry, manifest
from support.sdk_clients import DockerSdk, Oras

AT_ONCE: tuple[Kind, ...] = (
    Skopeo, Docker, Skopeo, Podman, Containerd, Skopeo, Buildah, DockerSdk,
)  # fmt: skip
TAGS = [f"v{number:04}" for number in range(1200)]
"""More than a page of the API holds."""

PUTS_AT_ONCE = 16
LARGE_BYTES = 5 << 30
LARGE = "OCTOPULL_LARGE"


def sharing(folder: Path, number: int) -> Image:
    """An image of two layers that all have, and one of its own."""
    own = folder / f"own-{number}.bin"
    own.write_bytes(content(300_000, number))
    layers = [
        Layer(folder / "small", "small", compressed=True),
        Layer(folder / "shared.bin", "shared", compressed=True),
        Layer(own, "own", compressed=True),
    ]
    return build(folder / f"image-{number}", "v1", layers)


def test_pushes_at_once_may_share_layers(
    proxy: str, agent: str, clients: Clients, tmp_path: Path
) -> None:
    (tmp_path / "small").write_text("in every image\n")
    (tmp_path / "shared.bin").write_bytes(content(2 << 20, 100))
    pushers = [clients(kind) for kind in AT_ONCE]
    images = [sharing(tmp_path, number) for number in range(len(pushers))]
    names = [f"sharing/{number}:v1" for number in range(len(pushers))]
    with ThreadPoolExecutor(len(pushers)) as pool:
        pushes = [
            pool.submit(pusher.push, image.folder, "v1", f"{proxy}/{name}")
            for pusher, image, name in zip(pushers, images, names, strict=True)
        ]
    for push in pushes:
        push.result()
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        clients(Skopeo).pull(agent, name, tmp_path / f"pulled-{number}")
        unpack(image.folder, tmp_path / f"expected-{number}")
        assert contents(tmp_path / f"pulled-{number}") == contents(tmp_path / f"expected-{number}")


async def push_tags(cluster: dict[str, Any]) -> None:
    """The first by a push; for the others the tag index is told, as Kraken's tools do it."""
    gate = asyncio.Semaphore(PUTS_AT_ONCE)
    async with aiohttp.ClientSession() as session:
        registry = Registry(session, cluster["proxy"])
        await registry.push_blob(b"{}", "many/tags")
        pushed = await registry.push_manifest("many/tags", TAGS[0], manifest(b"{}"))
        digest = pushed.headers["Docker-Content-Digest"]
        index = Registry(session, cluster["tag_index"])

        async def put(tag: str) -> int:
            async with gate:
                return (await index("PUT", f"/tags/many%2Ftags:{tag}/digest/{digest}")).status

        assert set(await asyncio.gather(*(put(tag) for tag in TAGS[1:]))) == {200}


def lists(transcript: Transcript) -> int:
    return sum("/tags/list" in exchange.ask.path for exchange in transcript.exchanges)


async def test_more_tags_than_a_page_holds_are_listed_in_pages(
    cluster: dict[str, Any], proxy: str, agent: str, clients: Clients
) -> None:
    clients(Skopeo)
    await push_tags(cluster)
    for address in (proxy, agent):
        async with Recorder(address) as front:
            listed = await asyncio.to_thread(
                run,
                "skopeo",
                "list-tags",
                "--tls-verify=false",
                f"docker://{front.address}/many/tags",
            )
        assert json.loads(listed)["Tags"] == TAGS
        assert lists(front.transcript("", (), reads=True)) > 1
        async with Recorder(address) as front:
            oras = Oras(front.address)
            target = f"{front.address}/many/tags"
            assert await asyncio.to_thread(oras.sdk.get_tags, target) == TAGS
            oras.close()
        assert lists(front.transcript("", (), reads=True)) > 1


@pytest.mark.skipif(not os.environ.get(LARGE), reason=f"a layer of 5 GiB: only with {LARGE}=1")
def test_a_layer_of_five_gibibytes_comes_out_as_it_went_in(
    clients: Clients, tmp_path: Path
) -> None:
    clients(Skopeo)
    try:
        image, digest = large_image(tmp_path)
        with up(tmp_path / "cluster", "--agents", "1") as cluster:
            copy = ("skopeo", "--insecure-policy", "copy", "--preserve-digests")
            run(*copy, "--dest-tls-verify=false", f"oci:{image.folder}:v1",
                f"docker://{cluster['proxy']}/large:v1")  # fmt: skip
            shutil.rmtree(image.folder)
            run(*copy, "--src-tls-verify=false",
                f"docker://{cluster['agents'][0]['http']}/large:v1", f"dir:{tmp_path}/pulled")  # fmt: skip
        with (tmp_path / "pulled" / digest).open("rb") as pulled:
            assert hashlib.file_digest(pulled, "sha256").hexdigest() == digest
    finally:
        # Four copies: what pytest would keep of them fills a disk.
        shutil.rmtree(tmp_path)


def large_image(folder: Path) -> tuple[Image, str]:
    """An image of one layer, and the hexadecimal digest of that."""
    large, slab = folder / "large.bin", content(LARGE_BYTES // 80, 7)
    with large.open("wb") as file:
        for number in range(80):
            file.write(number.to_bytes(8, "big") + slab[8:])
    image = build(folder / "image", "v1", [Layer(large, "data", compressed=False)])
    large.unlink()
    blobs = (image.folder / "blobs" / "sha256").iterdir()
    (layer,) = (path.name for path in blobs if path.stat().st_size > 1 << 32)
    return image, layer
