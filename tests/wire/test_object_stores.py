"""Object stores beyond the contract: who we are to them, what they say no to, and what it costs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from octopull.backends import object_stores
from octopull.backends.contract import Feature
from octopull.backends.object_stores import ObjectStore
from octopull.backends.store_clients import CHECK_S
from octopull.backends.store_parts import PARTS_MAX, parts_of
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import Fault, Misuse, NotFound, Unavailable, Unsupported
from support.contents import Bytes, joined
from support.ports import free_port
from support.servers.azurite import azurite
from support.servers.front import behind, front
from support.servers.gcs import gcs
from support.servers.moto import moto
from support.servers.programs import Bucket, write_secrets
from support.servers.rclone import rclone
from support.servers.versity import versity
from support.waiting import until

MIB = 1 << 20
Server = Callable[[], AbstractAsyncContextManager[Bucket]]
WRONG = {
    "s3": {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "wrong-and-secret"},
    "gs": {"GOOGLE_BEARER_TOKEN": "wrong-and-secret"},
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
        "AZURE_STORAGE_ACCOUNT_KEY": "d3JvbmctYW5kLXNlY3JldA==",
    },
}


def said(fault: Fault) -> str:
    """All that a log would show of it."""
    return f"{fault!r} {fault} {fault.details} {fault.__cause__!r} {fault.__context__ is None}"


async def each_call_fails(store: ObjectStore, words: str, secrets: dict[str, str]) -> None:
    """With Unavailable in those words, which hold no secret."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "stat": lambda: store.stat("one"),
        "get": lambda: joined(store.get("one")),
        "put": lambda: store.put("one", Bytes(b"1")),
        "large put": lambda: store.put("one", Bytes(bytes(9 * MIB))),
        "delete": lambda: store.delete("one"),
        "list": lambda: store.list("", "", 10),
    }
    if Feature.PUT_IF in store.features:
        calls["put_if"] = lambda: store.put_if("one", b"1", None)
    for name, call in calls.items():
        with pytest.raises(Unavailable) as failed:
            await call()
        assert words in str(failed.value), (name, failed.value)
        assert "-test" in str(failed.value)  # Which store it is.
        assert not [one for one in secrets.values() if one in said(failed.value)], name


@pytest.mark.parametrize("server", [versity, rclone, gcs, azurite])
async def test_wrong_credentials_are_said_to_be_wrong_and_no_secret_is(server: Server) -> None:
    async with server() as bucket:
        wrong = WRONG[bucket.scheme]
        secrets = {name: value for name, value in wrong.items() if "NAME" not in name}
        secrets.pop("AWS_ACCESS_KEY_ID", None)
        store = object_stores.open(bucket.settings(secrets=wrong))
        assert "secret" not in repr(store)
        await each_call_fails(store, "refuses this cluster's credentials", secrets)


@pytest.mark.parametrize("server", [moto, versity, gcs, azurite])
async def test_a_bucket_that_is_not_there_is_no_missing_object(server: Server) -> None:
    async with server() as bucket:
        settings = bucket.settings()
        settings = replace(settings, url=settings.url.replace(bucket.name, "no-such-bucket"))
        await each_call_fails(object_stores.open(settings), "there is no such bucket", {})


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
async def test_a_store_that_is_down_is_unavailable_soon(scheme: str, tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets", WRONG[scheme])
    settings = BackendSettings(
        url=f"{scheme}://bucket", name=f"{scheme}-test", credentials=str(tmp_path / "secrets"),
        options={"endpoint": f"http://127.0.0.1:{free_port()}"}, timeout_s=2,
    )  # fmt: skip
    async with asyncio.timeout(60):
        await each_call_fails(object_stores.open(settings), "can't be reached", WRONG[scheme])


@pytest.mark.parametrize("server", [versity, rclone, gcs, azurite])
async def test_credentials_that_change_are_read_again(server: Server) -> None:
    async with server() as bucket:
        settings = bucket.settings()
        path = Path(settings.credentials)
        store = object_stores.open(settings)
        await store.put("one", Bytes(b"1"))

        async def works() -> bool:
            try:
                return (await store.stat("one")).size == 1
            except Unavailable:
                return False

        async def fails() -> bool:
            return not await works()

        write_secrets(path, WRONG[bucket.scheme])
        await until(fails, CHECK_S * 20)
        write_secrets(path, {"nothing": "of the kind"})
        with pytest.raises(Unavailable, match="credentials"):
            await asyncio.sleep(CHECK_S)
            await store.stat("one")
        write_secrets(path, bucket.secrets)
        await until(works, CHECK_S * 20)


@pytest.mark.parametrize("content", ["", "{}", "just words", "AWS_SECRET=hidden-secret", "\0\1"])
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
async def test_a_file_that_holds_no_credentials_is_said_to(
    scheme: str, content: str, tmp_path: Path
) -> None:
    path = tmp_path / "secrets"
    path.write_text(content)
    store = object_stores.open(
        BackendSettings(
            url=f"{scheme}://bucket", name=f"{scheme}-test", credentials=str(path),
            options={"endpoint": f"http://127.0.0.1:{free_port()}"}, timeout_s=2,
        )
    )  # fmt: skip
    with pytest.raises(Unavailable) as failed:
        await store.stat("one")
    assert "-test" in str(failed.value)
    assert "hidden" not in said(failed.value)


async def test_credentials_come_from_the_environment_without_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rclone() as bucket:
        for name, value in bucket.secrets.items():
            monkeypatch.setenv(name, value)
        store = object_stores.open(replace(bucket.settings(), credentials=""))
        await store.put("one", Bytes(b"1"))
        assert await joined(store.get("one")) == b"1"


async def test_a_file_lets_nothing_of_another_identity_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rclone() as bucket:
        for name, value in {**WRONG["s3"], "AWS_SESSION_TOKEN": "of somebody else"}.items():
            monkeypatch.setenv(name, value)
        store = object_stores.open(bucket.settings())
        await store.put("one", Bytes(b"1"))
        assert await joined(store.get("one")) == b"1"


def test_without_obstore_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(Misuse, match=r"s3:// needs: pip install 'octopull\[object-stores\]'"):
        object_stores.open(BackendSettings(url="s3://bucket"))


@pytest.mark.parametrize(
    "options", [{"bogus": "1"}, {"aws_secret_access_key": "x"}, {"conditional_put": "maybe"},
                {"ca_file": "/nowhere"}, {"anonymous": ""}],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_options_are_known_and_sensible(scheme: str, options: dict[str, str]) -> None:
    with pytest.raises(Misuse):
        object_stores.open(BackendSettings(url=f"{scheme}://bucket", options=options))


async def test_conditional_puts_can_be_ruled_out_for_look_alikes_that_ignore_the_condition() -> (
    None
):
    async with moto() as bucket:
        store = object_stores.open(bucket.settings(conditional_put="false"))
        assert Feature.PUT_IF not in store.features
        with pytest.raises(Unsupported):
            await store.put_if("one", b"1", None)
        with pytest.raises(NotFound):
            await store.stat("one")


async def test_lists_leave_out_what_others_call_as_we_can_not() -> None:
    async with moto() as bucket, aiohttp.ClientSession() as session:
        store = object_stores.open(bucket.settings())
        await store.put("a", Bytes(b"1"))
        await store.put("c", Bytes(b"1"))
        for name in ("some/root/b%20b", "some/root/b*", "some/rootless"):
            url = f"{bucket.options['endpoint']}/{bucket.name}/{name}"
            async with session.put(URL(url, encoded=True), data=b"x") as answer:
                assert answer.status == 200
        assert await store.list("", "", 2) == ["a", "c"]
        assert await store.list("", "a", 10) == ["c"]


async def pending(bucket: Bucket) -> str:
    """What moto says of uploads that were begun and not ended."""
    async with aiohttp.ClientSession() as session:
        url = f"{bucket.options['endpoint']}/{bucket.name}?uploads"
        async with session.get(url) as answer:
            assert answer.status == 200
            return await answer.text()


async def test_an_upload_that_fails_leaves_no_parts_behind() -> None:
    async with moto() as bucket:
        store = object_stores.open(bucket.settings())
        with pytest.raises(NotFound):
            await store.put("one", Bytes(bytes(30 * MIB), failure=NotFound("gone")))
        assert "<Upload>" not in await pending(bucket)


@dataclass(frozen=True)
class Stalling:
    """A content that says when it has given all but its end, and waits."""

    size: int
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self.size // MIB - 1):
                yield bytes(MIB)
            self.stalled.set()
            await self.resume.wait()
            yield bytes(MIB)
        finally:
            self.closed.set()


@pytest.mark.parametrize("size", [4 * MIB, 40 * MIB])
@pytest.mark.parametrize("server", [moto, gcs, azurite])
async def test_a_put_that_is_given_up_ends_at_once_and_leaves_no_parts_behind(
    server: Server, size: int
) -> None:
    async with server() as bucket:
        store = object_stores.open(bucket.settings())
        content = Stalling(size)
        putting = asyncio.create_task(store.put("one", content))
        await content.stalled.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert content.closed.is_set()
        with pytest.raises(NotFound):
            await store.stat("one")
        if bucket.scheme == "s3":
            assert "<Upload>" not in await pending(bucket)


async def test_a_store_that_fails_amid_a_put_ends_it() -> None:
    content = Stalling(40 * MIB)
    async with moto() as bucket, behind(bucket.options["endpoint"]) as real:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if "partNumber" in request.query:
                await content.stalled.wait()
                content.resume.set()
                return web.Response(status=400, text="<Error><Code>Weary</Code></Error>")
            return await real.pass_on(request, headers={"host": real.host})

        async with front(handle) as url:
            store = object_stores.open(bucket.settings(endpoint=url))
            with pytest.raises(Unavailable, match="400 Weary"):
                async with asyncio.timeout(20):
                    await store.put("one", content)
        assert content.closed.is_set()


async def test_a_private_authority_is_trusted_if_it_is_named() -> None:
    async with moto(tls=True) as bucket:
        settings = bucket.settings()
        assert settings.options["endpoint"].startswith("https://")
        store = object_stores.open(settings)
        await store.put("one", Bytes(b"1"))
        assert await joined(store.get("one")) == b"1"
        others = {name: value for name, value in settings.options.items() if name != "ca_file"}
        with pytest.raises(Unavailable, match="can't be reached"):
            await object_stores.open(replace(settings, options=others)).stat("one")


@pytest.mark.parametrize(
    ("size", "part", "at_once"),
    [(9 * MIB, 8 * MIB, 8), (5 << 30, 8 * MIB, 8), (1 << 40, 109951163, 1), (5 << 40, 549755814, 1)],
)  # fmt: skip
def test_parts_are_few_enough_and_bounded(size: int, part: int, at_once: int) -> None:
    assert parts_of(size) == (part, at_once)
    assert -(-size // part) <= PARTS_MAX


@dataclass
class Watched:
    """A content that knows how much of it was read."""

    size: int
    read: int = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while self.read < self.size:
            self.read += MIB
            yield bytes(MIB)


async def test_no_more_is_read_than_may_be_on_its_way() -> None:
    content, stored, ahead = Watched(120 * MIB), 0, 0
    async with moto() as bucket, behind(bucket.options["endpoint"]) as real:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            nonlocal stored, ahead
            if "partNumber" in request.query:
                seen = -1
                while seen != content.read:  # As long as it reads on without an answer.
                    seen = content.read
                    await asyncio.sleep(0.3)
                ahead = max(ahead, content.read - stored)
                stored += request.content_length or 0
            return await real.pass_on(request, headers={"host": real.host})

        async with front(handle) as url:
            await object_stores.open(bucket.settings(endpoint=url)).put("one", content)
    assert 8 * MIB < ahead <= 80 * MIB


_LARGE = """
import asyncio, os, sys
from pathlib import Path
from octopull.backends import object_stores
from octopull.config.backends import BackendSettings

class Noise:
    size = int(sys.argv[4]) << 20
    async def chunks(self):
        for _ in range(self.size >> 20):
            yield os.urandom(1 << 20)

async def main():
    url, credentials, endpoint = sys.argv[1:4]
    settings = BackendSettings(url=url, credentials=credentials,
                               options={"endpoint": endpoint, "region": "us-east-1"})
    store = object_stores.open(settings)
    await store.put("large", Noise())
    got = 0
    async for chunk in store.get("large"):
        got += len(chunk)
    assert got == Noise.size
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

asyncio.run(main())
"""


@pytest.mark.parametrize("server", [rclone, versity])
async def test_a_large_object_takes_little_memory(server: Server) -> None:
    async with server() as bucket:
        settings = bucket.settings()
        words = (settings.url, settings.credentials, bucket.options["endpoint"], "512")
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", _LARGE, *words], capture_output=True, check=True,
            env=os.environ,
        )  # fmt: skip
        assert int(done.stdout) < 200 * 1024  # KiB, with Python and all libraries.
