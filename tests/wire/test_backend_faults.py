"""What networks and stores do to us between an origin and its backend: healed, or said clearly.

The store is S3 by moto, or a web server, behind a front that spoils answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from octopull.backends import circuit, deadlines, object_stores, reading
from octopull.backends.contract import BlobBackend, BlobName
from octopull.backends.layouts import blob_key
from octopull.backends.object_stores import ObjectStore
from octopull.backends.opening import opened
from octopull.config.backends import BackendSettings, BlobLayout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, UpstreamFailed
from support import toxic
from support.cluster import content
from support.contents import Bytes, joined
from support.ports import free_port
from support.servers.moto import moto
from support.servers.nginx import nginx
from support.toxic import Toxic, Toxin

BLOB = content(20_000_000, 31)
"""Three ranges to read, and three parts to write."""

SMALL = content(100_000, 32)
NAME = BlobName("team/app", Digest.of(BLOB))
SMALL_NAME = BlobName("team/app", Digest.of(SMALL))
IN_TIME_S = 60.0
YEARS_AGO = "Thu, 01 Jan 1998 00:00:00 GMT"
DENIED = "<Error><Code>ExpiredToken</Code><Message>secret-in-words</Message></Error>"

HEALED: dict[str, Toxin] = {
    "500": toxic.answers(500),
    "503": toxic.answers(503),
    "503, slow down": toxic.answers(503, {"Retry-After": "0"}, "<Error><Code>SlowDown</Code></Error>"),
    "429": toxic.answers(429),
    "403, credentials being renewed": toxic.answers(403, body=DENIED),
    "401": toxic.answers(401),
    "reset at once": toxic.refuses,
    "reset within the body": toxic.breaks(70_000),
    "end within the body": toxic.breaks(70_000, politely=True),
    "silence": toxic.hangs,
    "silence within the body": toxic.breaks(70_000, stalls=True),
    "a clock years off": toxic.dated(YEARS_AGO),
}  # fmt: skip
LASTING: dict[str, Toxin] = {
    "500": HEALED["500"],
    "403": HEALED["403, credentials being renewed"],
    "reset at once": toxic.refuses,
    "silence": toxic.hangs,
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PAUSE_S", 0.01)
    monkeypatch.setattr(circuit, "REST_S", 0.05)


@dataclass(frozen=True)
class Spoiled:
    """A backend, the front before its store, and the store as it is behind that."""

    front: Toxic
    backend: BlobBackend
    store: ObjectStore


@asynccontextmanager
async def s3(**settings: object) -> AsyncIterator[Spoiled]:
    async with moto() as bucket, toxic.toxic(bucket.options["endpoint"]) as front:
        told = replace(bucket.settings(endpoint=front.url), timeout_s=1.0, **settings)  # type: ignore[arg-type]
        async with opened([told]) as backends:
            (backend,) = backends.all
            yield Spoiled(front, backend, object_stores.open(bucket.settings()))


@pytest.fixture
async def spoiled() -> AsyncIterator[Spoiled]:
    async with s3() as one:
        yield one


@pytest.mark.parametrize("what", HEALED)
async def test_a_read_is_healed_and_every_byte_is_right(spoiled: Spoiled, what: str) -> None:
    await spoiled.backend.put(NAME, Bytes(BLOB))
    spoiled.front.toxins.extend([HEALED[what]] * 3)
    async with asyncio.timeout(IN_TIME_S):
        assert await joined(spoiled.backend.get(NAME)) == BLOB
    assert spoiled.front.spoiled == 3


@pytest.mark.parametrize("what", HEALED)
async def test_a_look_is_healed(spoiled: Spoiled, what: str) -> None:
    await spoiled.backend.put(SMALL_NAME, Bytes(SMALL))
    spoiled.front.methods = frozenset({"HEAD"})
    spoiled.front.toxins.extend([HEALED[what]] * 2)
    async with asyncio.timeout(IN_TIME_S):
        assert await spoiled.backend.stat(SMALL_NAME) == len(SMALL)
    assert spoiled.front.spoiled


WRITES = frozenset({"PUT", "POST"})
UPLOADS = {
    **{what: HEALED[what] for what in ("500", "503, slow down", "401", "silence")},
    "403, credentials being renewed": HEALED["403, credentials being renewed"],
    "reset within the body": toxic.resets_upload(70_000),
    "the answer is lost": toxic.loses_the_answer,
}


@pytest.mark.parametrize("blob", [SMALL, BLOB], ids=["small", "in parts"])
@pytest.mark.parametrize("what", UPLOADS)
async def test_a_write_is_healed(spoiled: Spoiled, what: str, blob: bytes) -> None:
    name = BlobName("team/app", Digest.of(blob))
    spoiled.front.methods = WRITES
    spoiled.front.toxins.extend([UPLOADS[what]] * 2)
    async with asyncio.timeout(IN_TIME_S):
        await spoiled.backend.put(name, Bytes(blob))
    key = blob_key(BlobLayout.SHARDED_DOCKER_BLOB, name.digest)
    assert await joined(spoiled.store.get(key)) == blob
    assert spoiled.front.spoiled == 2


@pytest.mark.parametrize("what", LASTING)
async def test_what_lasts_is_said_in_time_and_is_the_stores_fault(what: str) -> None:
    async with s3(attempts_max=2) as spoiled:
        await spoiled.backend.put(NAME, Bytes(BLOB))
        spoiled.front.always = LASTING[what]
        spoiled.front.methods = frozenset({"GET", "HEAD", "PUT", "POST"})
        async with asyncio.timeout(IN_TIME_S):
            with pytest.raises(UpstreamFailed) as failed:
                await joined(spoiled.backend.get(NAME))
            with pytest.raises(UpstreamFailed):
                await spoiled.backend.put(SMALL_NAME, Bytes(SMALL))
        said = f"{failed.value} {failed.value.details}"
        assert spoiled.backend.name in said
        assert "secret" not in said


@pytest.mark.parametrize("after_bytes", [0, 70_000])
async def test_a_write_that_fails_leaves_nothing(spoiled: Spoiled, after_bytes: int) -> None:
    spoiled.front.methods = WRITES
    spoiled.front.always = toxic.resets_upload(after_bytes)
    for name, blob in ((NAME, BLOB), (SMALL_NAME, SMALL)):
        async with asyncio.timeout(IN_TIME_S):
            with pytest.raises(UpstreamFailed):
                await spoiled.backend.put(name, Bytes(blob))
        with pytest.raises(NotFound):
            await spoiled.store.stat(blob_key(BlobLayout.SHARDED_DOCKER_BLOB, name.digest))


async def test_a_read_whose_store_dies_never_ends_as_if_it_were_whole(
    spoiled: Spoiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", 1_000_000)
    await spoiled.backend.put(NAME, Bytes(BLOB))
    got = bytearray()
    with pytest.raises(UpstreamFailed):
        async with aclosing(spoiled.backend.get(NAME)) as chunks:
            async for chunk in chunks:
                spoiled.front.always = toxic.breaks(0)
                got += chunk
    assert 0 < len(got) < len(BLOB)
    assert BLOB.startswith(got)


async def test_a_body_shorter_than_was_asked_for_is_no_body(spoiled: Spoiled) -> None:
    await spoiled.backend.put(SMALL_NAME, Bytes(SMALL))
    spoiled.front.always = toxic.shortens(1)
    with pytest.raises(Fault):
        await joined(spoiled.backend.get(SMALL_NAME))


async def test_a_store_nobody_listens_at_costs_little_once_it_is_known() -> None:
    settings = BackendSettings(
        url="s3://bucket/root", options={"endpoint": f"http://127.0.0.1:{free_port()}",
                                         "region": "x", "anonymous": "true"},
        timeout_s=2.0, attempts_max=1,
    )  # fmt: skip
    async with opened([settings]) as backends, asyncio.timeout(IN_TIME_S):
        (backend,) = backends.all
        seen = set[str]()
        while not any("left alone" in words for words in seen):
            with pytest.raises(UpstreamFailed) as failed:
                await backend.stat(NAME)
            seen.add(str(failed.value))


@asynccontextmanager
async def web(folder: str = "/files") -> AsyncIterator[tuple[Toxic, BlobBackend, Path]]:
    async with nginx() as server, toxic.toxic(server.url) as front:
        settings = BackendSettings(url=front.url + folder, timeout_s=1.0)
        async with opened([settings]) as backends:
            (backend,) = backends.all
            path = server.files / blob_key(BlobLayout.SHARDED_DOCKER_BLOB, NAME.digest)
            path.parent.mkdir(parents=True)
            path.write_bytes(BLOB)
            yield front, backend, path


@pytest.mark.parametrize("what", HEALED)
async def test_a_read_of_a_web_server_is_healed(what: str) -> None:
    async with web() as (front, backend, _), asyncio.timeout(IN_TIME_S):
        front.toxins.extend([HEALED[what]] * 2)
        assert await joined(backend.get(NAME)) == BLOB
        assert front.spoiled == 2


async def test_who_says_when_to_come_back_is_left_alone_until_then() -> None:
    async with web() as (front, backend, _), asyncio.timeout(IN_TIME_S):
        front.methods = frozenset({"HEAD"})
        front.always = toxic.answers(503, {"Retry-After": "3600"})
        for _ in range(3):
            with pytest.raises(UpstreamFailed):
                await backend.stat(NAME)
        assert front.asked == ["HEAD"]


async def test_a_blob_that_becomes_another_while_it_is_read_is_never_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", 1_000_000)
    async with web() as (_, backend, path):
        got = bytearray()
        with pytest.raises(Fault):
            async with aclosing(backend.get(NAME)) as chunks:
                async for chunk in chunks:
                    if not got:
                        path.write_bytes(BLOB[: len(BLOB) // 2])
                    got += chunk
        assert len(got) < len(BLOB)
