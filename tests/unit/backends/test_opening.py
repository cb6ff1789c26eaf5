"""Backends opened by their settings."""

from pathlib import Path

import pytest

from octopull.backends.contract import BlobName
from octopull.backends.deadlines import Deadlines
from octopull.backends.opening import Backends, open_objects, opened
from octopull.backends.throttle import Throttle
from octopull.config.backends import BackendSettings, BlobLayout, TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, UpstreamFailed
from support.contents import Bytes, joined
from support.ports import free_port

CONTENT = b"content"
BLOB = BlobName("team/app", Digest.of(CONTENT))


def folder(path: Path, **settings: object) -> BackendSettings:
    path.mkdir(exist_ok=True)
    return BackendSettings(url=path.as_uri(), **settings)  # type: ignore[arg-type]


async def test_the_first_backend_whose_pattern_is_all_of_the_namespace_counts(
    tmp_path: Path,
) -> None:
    settings = [
        folder(tmp_path / "one", name="one", match="team/.*"),
        folder(tmp_path / "two", name="two", match="team/app|other"),
    ]
    async with opened(settings) as backends:
        assert [one.name for one in backends.all] == ["one", "two"]
        assert named(backends, "team/app") == "one"
        assert named(backends, "other") == "two"
        for none in ("team", "another", "other/one", "a/team/app"):
            assert named(backends, none) is None


def named(backends: Backends, namespace: str) -> str | None:
    backend = backends.of(namespace)
    return None if backend is None else backend.name


async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    settings = folder(tmp_path / "a b%20c#d?e")
    async with opened([settings]) as backends:
        await backends.all[0].put(BLOB, Bytes(CONTENT))
    assert list((tmp_path / "a b%20c#d?e").rglob("data"))


@pytest.mark.parametrize(
    "settings",
    [
        BackendSettings(url="file:///no/such/folder"),
        BackendSettings(url="file://host/etc"),
        BackendSettings(url="file:///etc?a=b"),
        BackendSettings(url="s3://bucket", options={"no_such_option": "1"}),
        BackendSettings(url="file:///tmp", shadow=BackendSettings(url="file:///no/such/folder")),
        BackendSettings(
            url="file:///tmp", shadow=BackendSettings(url="http://127.0.0.1:1/", name="web")
        ),
        BackendSettings(
            url="file:///tmp", shadow=BackendSettings(url="file:///var", read_only=True)
        ),
    ],
)
async def test_what_makes_no_sense_is_said_at_the_start(settings: BackendSettings) -> None:
    with pytest.raises(Misuse):
        async with opened([settings]):
            pass


@pytest.mark.parametrize(
    "url",
    ["s3://bucket/root", "gs://bucket", "az://container/root", "hdfs://127.0.0.1:{port}/root",
     "http://127.0.0.1:{port}/blobs", "registry+http://127.0.0.1:{port}/prefix"],
)  # fmt: skip
async def test_a_backend_that_is_down_keeps_nobody_from_starting(url: str) -> None:
    port = free_port()
    options = {"endpoint": f"http://127.0.0.1:{port}", "anonymous": "true"}
    settings = BackendSettings(
        url=url.format(port=port), timeout_s=5.0, attempts_max=1,
        options=options if url[:2] in {"s3", "gs", "az"} else {},
    )  # fmt: skip
    if url.startswith("az"):
        options["account"] = "account"
    async with opened([settings]) as backends:
        (backend,) = backends.all
        with pytest.raises(UpstreamFailed) as failed:
            await backend.stat(BLOB)
        assert backend.name in str(failed.value)


async def test_every_store_of_objects_has_deadlines_within_its_limits(tmp_path: Path) -> None:
    """Who waits for a turn, or for bytes that a limit holds back, is not silent."""
    settings = folder(tmp_path / "slow", out_bytes_per_s=8_000, timeout_s=1.2, attempts_max=1)
    async with opened([settings]) as backends:
        await backends.all[0].put(BLOB, Bytes(bytes(16_000)))
    async with open_objects(settings) as objects:
        assert isinstance(objects, Throttle)
        assert isinstance(objects._objects, Deadlines)


async def test_a_shadow_has_all_that_is_written_in_its_own_layout(tmp_path: Path) -> None:
    shadow = folder(tmp_path / "shadow", layout=BlobLayout.IDENTITY)
    settings = folder(tmp_path / "first", shadow=shadow)
    async with opened([settings]) as backends:
        (backend,) = backends.all
        assert backend.name == settings.label
        await backend.put(BLOB, Bytes(CONTENT))
        assert await joined(backend.get(BLOB)) == CONTENT
    assert (tmp_path / "shadow" / BLOB.digest.hex).read_bytes() == CONTENT


async def test_tags_are_kept_in_the_same_kinds_of_stores(tmp_path: Path) -> None:
    settings = TagBackendSettings(url=folder(tmp_path / "tags").url, name="tags")
    async with open_objects(settings) as objects:
        await objects.put("a/link", Bytes(b"link"))
    assert (tmp_path / "tags/a/link").read_bytes() == b"link"
