"""Another registry as a backend, against Debian's docker-registry and octopull's own proxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.backends import registry_tags
from octopull.backends.contract import BlobBackend, BlobName
from octopull.backends.registry_blobs import opened_registry
from octopull.backends.registry_tags import opened_registry_tags
from octopull.cli.cluster import Ports, running
from octopull.config.backends import BackendSettings, TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    MissingReference,
    Misuse,
    NotFound,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)
from octopull.kernel.names import TagName
from octopull.oci.manifests import MediaType
from support.cluster import content
from support.contents import Bytes, joined
from support.registry import Registry, index, manifest
from support.servers.docker_registry import PASSWORD, USER, docker_registry
from support.upstream import IDENTITY, Front, front

LAYER = content(3_000_000, 21)
CONFIG = b'{"architecture": "amd64"}'
IMAGE = manifest(CONFIG, LAYER)
INDEX = index(IMAGE)
NAME = BlobName("team/app", Digest.of(LAYER))


def named(blob: bytes, *, is_manifest: bool = False) -> BlobName:
    return BlobName("team/app", Digest.of(blob), is_manifest)


def settings(url: object, **more: object) -> BackendSettings:
    given: dict[str, object] = {
        "url": f"registry+{url}/mirror", "name": "other", "timeout_s": 10.0, **more,
    }  # fmt: skip
    return BackendSettings(**given)  # type: ignore[arg-type]


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    path = tmp_path / "credentials"
    path.write_text(f"{USER}:{PASSWORD}\n")
    return str(path)


@pytest.fixture
async def behind(address: str) -> AsyncIterator[Front]:
    async with front(address) as one:
        yield one


async def push_image(backend: BlobBackend) -> None:
    for blob in (LAYER, CONFIG, IMAGE, INDEX):
        await backend.put(named(blob), Bytes(blob))


async def test_an_image_is_put_there_and_read_again(address: str) -> None:
    async with opened_registry(settings(f"http://{address}")) as backend:
        assert (backend.name, backend.writable) == ("other", True)
        for _ in range(2):
            await push_image(backend)
        for blob in (LAYER, CONFIG, IMAGE, INDEX):
            assert await backend.stat(named(blob)) == len(blob)
            assert await joined(backend.get(named(blob))) == blob
            assert await joined(backend.get(named(blob), len(blob) - 2)) == blob[-2:]
            assert await joined(backend.get(named(blob), len(blob))) == b""
        assert await joined(backend.get(named(IMAGE, is_manifest=True))) == IMAGE
        await backend.put_metainfo(NAME, b"metainfo")
        with pytest.raises(NotFound):
            await backend.metainfo(NAME)
    async with aiohttp.ClientSession() as session:
        answer = await Registry(session, address)("GET", f"/v2/mirror/team/app/blobs/{NAME.digest}")
    assert answer.body == LAYER


async def test_what_is_not_there_is_not_found(address: str) -> None:
    async with opened_registry(settings(f"http://{address}")) as backend:
        for blob in (named(b"no"), named(b"no", is_manifest=True), BlobName("Up/Per", NAME.digest)):
            with pytest.raises(NotFound):
                await backend.stat(blob)
            with pytest.raises(NotFound):
                await joined(backend.get(blob))
        with pytest.raises(Misuse):
            await backend.put(BlobName("Up/Per", NAME.digest), Bytes(LAYER))


@pytest.mark.parametrize("size", [0, 1, 2, 1 << 20, (1 << 20) + 1])
async def test_blobs_of_all_sizes_arrive(address: str, size: int) -> None:
    blob = content(size, 5)
    async with opened_registry(settings(f"http://{address}")) as backend:
        await backend.put(named(blob), Bytes(blob))
        assert await backend.stat(named(blob)) == size
        assert await joined(backend.get(named(blob))) == blob


async def test_a_manifest_waits_for_what_it_refers_to(address: str) -> None:
    async with opened_registry(settings(f"http://{address}")) as backend:
        for early in (IMAGE, INDEX):
            with pytest.raises(MissingReference):
                await backend.put(named(early), Bytes(early))
        await push_image(backend)
        assert await backend.stat(named(INDEX)) == len(INDEX)


async def test_a_large_blob_goes_in_chunks_if_that_is_asked_for(behind: Front) -> None:
    options = {"chunk_bytes": "1000000"}
    async with opened_registry(settings(behind.url, options=options)) as backend:
        await backend.put(NAME, Bytes(LAYER))
        assert await joined(backend.get(NAME)) == LAYER
    sent = [one.headers["Content-Range"] for one in behind.asked if one.method == "PATCH"]
    assert sent == ["0-999999", "1000000-1999999", "2000000-2999999"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        # It tells nobody how far an upload came whose last request broke.
        ("docker-registry", ["3000000", "3000000", "3000000"]),
        ("octopull", ["3000000", "2000000", "500000"]),
    ],
    indirect=["address"],
)
async def test_a_broken_upload_goes_on_where_it_broke_if_the_registry_says_where(
    behind: Front, expected: list[str]
) -> None:
    behind.upload_cuts = [1_000_000, 1_500_000]
    async with opened_registry(settings(behind.url)) as backend:
        await backend.put(NAME, Bytes(LAYER))
        assert await joined(backend.get(NAME)) == LAYER
    sent = [one.headers["Content-Length"] for one in behind.asked if one.method == "PATCH"]
    assert sent == expected


async def test_an_upload_that_nobody_knows_any_longer_is_begun_anew(behind: Front) -> None:
    behind.upload_cuts, behind.forget_uploads = [1_000_000], True
    async with opened_registry(settings(behind.url)) as backend:
        await backend.put(NAME, Bytes(LAYER))
        assert await joined(backend.get(NAME)) == LAYER
    assert behind.count("POST", "/uploads/") == 2


async def test_an_answer_that_is_lost_does_not_send_the_blob_again(behind: Front) -> None:
    behind.lose_commits = 1
    async with opened_registry(settings(behind.url)) as backend:
        await backend.put(NAME, Bytes(LAYER))
        assert await joined(backend.get(NAME)) == LAYER
    assert behind.count("PATCH", "/uploads/") == 1


async def test_content_that_can_not_be_read_leaves_nothing(address: str) -> None:
    async with opened_registry(settings(f"http://{address}")) as backend:
        for wrong, fault in (
            (Bytes(LAYER, failure=Corrupt("the disk")), Corrupt),
            (Bytes(LAYER[:-1], told=len(LAYER)), Corrupt),
            (Bytes(LAYER + b"x", told=len(LAYER)), Corrupt),
            (Bytes(LAYER[:-1], told=len(LAYER), failure=Unavailable("the disk")), Unavailable),
            (Bytes(LAYER, failure=NotFound("collected")), NotFound),
        ):
            with pytest.raises(fault) as told:
                await backend.put(NAME, wrong)
            # The registry is not to blame.
            assert not isinstance(told.value, UpstreamFailed)
            with pytest.raises(NotFound):
                await backend.stat(NAME)
        other = BlobName("team/app", Digest.of(b"other"))
        with pytest.raises(UpstreamFailed):
            await backend.put(other, Bytes(content(100, 3)))
        with pytest.raises(NotFound):
            await backend.stat(other)


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_an_upload_that_is_given_up_is_cancelled(behind: Front) -> None:
    async with opened_registry(settings(behind.url)) as backend:
        with pytest.raises(Corrupt):
            await backend.put(NAME, Bytes(LAYER, failure=Corrupt("the disk")))
    assert behind.count("DELETE", "/uploads/") == 1


async def test_blobs_and_manifests_are_deleted(address: str) -> None:
    async with opened_registry(settings(f"http://{address}")) as backend:
        await push_image(backend)
        for blob in (INDEX, IMAGE, CONFIG, b"never"):
            await backend.delete(named(blob))
            with pytest.raises(NotFound):
                await backend.stat(named(blob))


async def test_a_registry_that_keeps_all_says_so(tmp_path: Path) -> None:
    async with (
        docker_registry(tmp_path, deletes=False) as address,
        opened_registry(settings(f"http://{address}")) as backend,
    ):
        await push_image(backend)
        with pytest.raises(Unsupported):
            await backend.delete(NAME)
        assert await backend.stat(NAME) == len(LAYER)


async def test_what_is_only_read_is_not_written(address: str) -> None:
    async with opened_registry(settings(f"http://{address}", read_only=True)) as backend:
        assert not backend.writable
        with pytest.raises(Unsupported):
            await backend.put(NAME, Bytes(LAYER))
        with pytest.raises(Unsupported):
            await backend.delete(NAME)


async def test_user_and_password_are_shown_to_who_asks(tmp_path: Path, credentials: str) -> None:
    async with docker_registry(tmp_path, basic=True) as address:
        url = f"http://{address}"
        async with opened_registry(settings(url, credentials=credentials)) as backend:
            await push_image(backend)
            assert await joined(backend.get(named(INDEX))) == INDEX
        async with opened_registry(settings(url)) as nobody:
            with pytest.raises(UpstreamFailed, match="does not let this cluster"):
                await nobody.put(named(b"more"), Bytes(b"more"))


async def test_tokens_are_asked_for_by_purpose(behind: Front, credentials: str) -> None:
    behind.tokens = behind.private = True
    async with opened_registry(settings(behind.url, credentials=credentials)) as backend:
        await push_image(backend)
        assert await joined(backend.get(named(INDEX))) == INDEX
        await backend.delete(named(INDEX))
    scopes = {one.rpartition(":")[2] for one in behind.valid}
    assert scopes == {"pull", "pull,push", "delete"}
    assert behind.given == 3


def helper(folder: Path, username: str, secret: str) -> None:
    """Write ``docker-credential-here`` to ``folder``."""
    path = folder / "docker-credential-here"
    path.write_text(f"""#!/bin/sh\necho '{{"Username": "{username}", "Secret": "{secret}"}}'\n""")
    path.chmod(0o700)


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_a_helper_program_is_asked_again_when_its_answer_is_refused(
    behind: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    options = {"credential_helper": "here"}
    for behind.basic, behind.tokens in ((True, False), (False, True)):
        behind.private = behind.tokens
        helper(tmp_path, USER, "wrong-and-secret")
        async with opened_registry(settings(behind.url, options=options)) as backend:
            with pytest.raises(UpstreamFailed, match="refuses this cluster's credentials") as told:
                await backend.put(NAME, Bytes(LAYER))
            assert "secret" not in f"{told.value} {told.value.details}"
            for behind.password in (PASSWORD, "newer-and-secret", PASSWORD):
                helper(tmp_path, USER, behind.password)
                behind.revoke()
                await backend.put(NAME, Bytes(LAYER))
            behind.revoke()
            helper(tmp_path, USER, "wrong-and-secret")
            # What was right is known still.
            await backend.put(NAME, Bytes(LAYER))


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_an_identity_token_is_shown_to_the_realm_alone(
    behind: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    behind.tokens = behind.private = True
    options = {"credential_helper": "here"}
    helper(tmp_path, "<token>", "wrong-and-secret")
    async with opened_registry(settings(behind.url, options=options)) as backend:
        with pytest.raises(UpstreamFailed, match="refuses this cluster's credentials"):
            await backend.stat(NAME)
        helper(tmp_path, "<token>", IDENTITY)
        await push_image(backend)
        assert await joined(backend.get(named(INDEX))) == INDEX
    assert behind.count("GET", "/token") == 0
    assert not any(IDENTITY in str(one) for one in behind.asked)


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_a_token_that_runs_out_under_way_is_replaced(behind: Front, credentials: str) -> None:
    behind.tokens = behind.private = True
    behind.upload_cuts = [1_000_000]
    async with opened_registry(settings(behind.url, credentials=credentials)) as backend:

        async def revoke() -> None:
            await behind.seen("PATCH", "/uploads/", 1)
            behind.revoke()

        async with asyncio.TaskGroup() as group:
            group.create_task(revoke())
            await backend.put(NAME, Bytes(LAYER))
        assert await joined(backend.get(NAME)) == LAYER
    patches = [one for one in behind.asked if one.method == "PATCH"]
    assert [one.headers["Content-Length"] for one in patches] == ["3000000", "2000000"]
    assert patches[0].headers["Authorization"] != patches[1].headers["Authorization"]


@pytest.mark.parametrize("status", [401, 403, 405, 500, 503])
async def test_a_registry_that_refuses_is_to_blame(behind: Front, status: int) -> None:
    behind.refuse_uploads = status
    async with opened_registry(settings(behind.url, attempts_max=2)) as backend:
        with pytest.raises(UpstreamFailed) as told:
            await backend.put(NAME, Bytes(LAYER))
        assert "127.0.0.1" not in str(told.value)
    if status < 500:  # Asking again would not help.
        assert behind.count("POST", "/uploads/") == 1


async def test_a_registry_that_takes_no_such_blob_is_not_to_blame(behind: Front) -> None:
    behind.refuse_uploads = 413
    async with opened_registry(settings(behind.url)) as backend:
        with pytest.raises(Unsupported):
            await backend.put(NAME, Bytes(LAYER))


async def test_a_registry_that_is_away_is_told_in_plain_words(behind: Front) -> None:
    behind.down = True
    async with opened_registry(settings(behind.url, attempts_max=2)) as backend:
        for call in (backend.put(NAME, Bytes(LAYER)), backend.stat(NAME), backend.delete(NAME)):
            with pytest.raises(UpstreamFailed, match=r"^other can't be reached$"):
                await call


async def test_writes_keep_to_their_limit(address: str) -> None:
    limits = {"in_bytes_per_s": 6_000_000, "out_bytes_per_s": 6_000_000}
    loop = asyncio.get_running_loop()
    async with opened_registry(settings(f"http://{address}", **limits)) as backend:
        for call in (backend.put(NAME, Bytes(LAYER)), joined(backend.get(NAME))):
            started = loop.time()
            await call
            # What moved last is paid for by who comes next.
            assert loop.time() - started > 0.25


# Tags.


@contextlib.asynccontextmanager
async def image_there(address: str) -> AsyncIterator[None]:
    async with opened_registry(settings(f"http://{address}")) as backend:
        await push_image(backend)
        yield


async def test_tags_are_put_moved_listed_and_read(address: str) -> None:
    name = TagName("team/app", "v1")
    tagging = TagBackendSettings(url=f"registry+http://{address}/mirror")
    async with image_there(address), opened_registry_tags(tagging) as tags:
        assert tags.writable
        with pytest.raises(NotFound):
            await tags.get(name)
        assert await tags.list("team/app", "", 10) == []
        assert await tags.list("team/none", "", 10) == []
        for moved in (IMAGE, INDEX):
            await tags.put(name, Digest.of(moved))
            assert (await tags.get(name)).digest == Digest.of(moved)
        with pytest.raises(MissingReference, match="does not have the tag's manifest"):
            await tags.put(name, Digest.of(b"none"))
        with pytest.raises(Unsupported):
            await tags.put_if(name, Digest.of(INDEX), None)
        for tag in ("B", "a", "_", "v0"):
            await tags.put(TagName("team/app", tag), Digest.of(INDEX))
        assert await tags.list("team/app", "", 10) == ["B", "_", "a", "v0", "v1"]
        assert await tags.list("team/app", "_", 2) == ["a", "v0"]


async def test_a_tag_is_deleted_alone_or_not_at_all(address: str) -> None:
    name, other = TagName("team/app", "v1"), TagName("team/app", "v2")
    tagging = TagBackendSettings(url=f"registry+http://{address}/mirror")
    async with image_there(address), opened_registry_tags(tagging) as tags:
        for one in (name, other):
            await tags.put(one, Digest.of(INDEX))
        try:
            await tags.delete(name)
        except Unsupported:
            assert (await tags.get(name)).digest == Digest.of(INDEX)
        else:
            with pytest.raises(NotFound):
                await tags.get(name)
            await tags.delete(name)
        assert (await tags.get(other)).digest == Digest.of(INDEX)


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        ((405, "UNSUPPORTED"), Unsupported),
        ((400, "UNSUPPORTED"), Unsupported),
        ((400, "DIGEST_INVALID"), Unsupported),
        ((400, "NAME_INVALID"), UpstreamFailed),
        ((400, ""), UpstreamFailed),
    ],
)
async def test_a_deletion_is_given_up_only_if_the_registry_deletes_no_such_thing(
    behind: Front, refusal: tuple[int, str], fault: type[Exception]
) -> None:
    behind.refuse_deletes = refusal
    tagging = TagBackendSettings(url=f"registry+{behind.url}/mirror")
    async with opened_registry_tags(tagging) as tags:
        with pytest.raises(fault):
            await tags.delete(TagName("team/app", "v1"))


async def test_tags_on_many_pages_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_tags, "PAGE", 20)
    wanted = sorted(f"v{number}" for number in range(55))
    async with (
        running(tmp_path / "other", 0, Ports(0, "127.0.0.1")) as cluster,
        aiohttp.ClientSession() as session,
    ):
        registry = Registry(session, cluster.proxy.address)
        await registry.push_image("mirror/team/app", "v0")
        content_ = (await registry("GET", "/v2/mirror/team/app/manifests/v0",
                                   Accept=MediaType.OCI_MANIFEST)).body  # fmt: skip
        for tag in wanted:
            assert (await registry.push_manifest("mirror/team/app", tag, content_)).status == 201
        tagging = TagBackendSettings(url=f"registry+http://{cluster.proxy.address}/mirror")
        async with opened_registry_tags(tagging) as tags:
            assert await tags.list("team/app", "", 2000) == wanted
            assert await tags.list("team/app", "v5", 2) == ["v50", "v51"]
