"""Pushes whose connection is reset in the midst: what was half sent is nowhere, and a second try
succeeds."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oci_image import Layer, build
from octopull.kernel.digest import Digest
from registry_clients import (
    ClientFailed,
    Containerd,
    Docker,
    Kind,
    Podman,
    Skopeo,
)  # fmt: skip
from support.clients import Clients
from support.cluster import content
from support.cutting import Cutting
from support.registry import Registry
from support.sdk_clients import Oras

LARGE_BYTES = 5 << 20
AFTER_BYTES = 3 << 20
KINDS: tuple[Kind, ...] = (Skopeo, Containerd, Podman, Docker)


@pytest.fixture
async def registry(proxy: str) -> AsyncIterator[Registry]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Registry(session, proxy)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_push_that_was_cut_succeeds_when_repeated(
    proxy: str, agent: str, clients: Clients, tmp_path: Path, kind: Kind
) -> None:
    # Each kind has bytes of its own: what another one pushed would not be sent again.
    weights = tmp_path / "weights.bin"
    weights.write_bytes(content(LARGE_BYTES, KINDS.index(kind)))
    image = build(tmp_path / "image", "v1", [Layer(weights, "data", compressed=True)])
    client, name = clients(kind), f"cut/{kind.name}:v1"
    async with Cutting(proxy, AFTER_BYTES) as front:
        push = partial(client.push, image.folder, "v1", f"{front.address}/{name}")
        try:
            await asyncio.to_thread(push)
        except ClientFailed:
            # Some try again by themselves. For those that don't, nothing was pushed.
            with pytest.raises(ClientFailed):
                await asyncio.to_thread(clients(Skopeo).pull, agent, name, tmp_path / "half")
            await asyncio.to_thread(push)
        assert front.cut
    await asyncio.to_thread(client.pull, agent, name, tmp_path / "whole")
    pulled = tmp_path / "whole" / "data" / "weights.bin"
    assert pulled.read_bytes() == weights.read_bytes()


@pytest.mark.parametrize("chunked", [False, True], ids=["in-one", "in-chunks"])
async def test_an_artifact_whose_push_was_cut_can_be_pushed_again(
    proxy: str, tmp_path: Path, *, chunked: bool
) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(content(LARGE_BYTES, 40 + chunked))
    name = f"cut/oras-{chunked}:v1".lower()
    how: dict[str, Any] = {"do_chunked": True, "chunk_size": 2 << 20} if chunked else {}
    async with Cutting(proxy, AFTER_BYTES) as front:
        oras = Oras(front.address)
        push = partial(oras.push, name, [(weights, "application/x-weights")], **how)
        try:
            await asyncio.to_thread(push)
        except ValueError:
            # The SDK repeats the very request that was cut, to a session that has moved on.
            await asyncio.to_thread(push)
        assert front.cut
        oras.close()
    oras = Oras(proxy)
    (pulled,) = await asyncio.to_thread(oras.pull, name, tmp_path / "out")
    oras.close()
    assert pulled.read_bytes() == weights.read_bytes()


async def test_a_chunk_that_was_cut_is_resumed_where_the_session_says(
    proxy: str, registry: Registry
) -> None:
    blob = content(LARGE_BYTES, 50)
    digest = Digest.of(blob)
    _, headers, _ = await registry("POST", "/v2/cut/resumed/blobs/uploads/")
    at = headers["Location"]

    async def received() -> int:
        answer = await registry("GET", at)
        assert answer.status == 204
        last = int(answer.headers["Range"].removeprefix("0-"))
        return last + 1 if last else 0

    async def some_arrived() -> None:
        while not await received():
            pass

    async with (
        Cutting(proxy, AFTER_BYTES, some_arrived) as front,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(aiohttp.ClientError):
            await Registry(session, front.address)("PATCH", at, blob)
    assert front.cut
    assert (await registry("HEAD", f"/v2/cut/resumed/blobs/{digest}")).status == 404
    status = 416
    while status == 416:  # What was on its way when the connection broke may still come in.
        start = await received()
        assert 0 < start < LARGE_BYTES
        rest = f"{start}-{LARGE_BYTES - 1}"
        status, headers, _ = await registry("PATCH", at, blob[start:], Content_Range=rest)
    assert (status, headers["Range"]) == (202, f"0-{LARGE_BYTES - 1}")
    assert (await registry("PUT", f"{headers['Location']}?digest={digest}")).status == 201
    assert (await registry("GET", f"/v2/cut/resumed/blobs/{digest}")).body == blob
