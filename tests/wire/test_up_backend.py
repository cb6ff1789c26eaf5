"""``octopull up`` with a store of one's own: what one cluster pushed, another one pulls."""

import subprocess
from pathlib import Path

import aiohttp
import pytest

from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support.cluster import OCTOPULL, content, up
from support.registry import Registry, manifest
from support.write_back import written

CONFIG, LARGE = b"{}", content(3_000_000, 1)
MANIFEST = manifest(CONFIG, LARGE)
LATER = manifest(CONFIG, b"later")


async def push(address: str, layer: bytes, document: bytes) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy = Registry(session, address)
        for blob in (CONFIG, layer):
            await proxy.push_blob(blob, "a/b")
        assert (await proxy.push_manifest("a/b", "v1", document)).status == 201


async def test_what_one_cluster_wrote_to_a_folder_another_one_with_no_data_pulls(
    http: Http, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    option = ("--agents", "1", "--backend", store.as_uri())
    with up(tmp_path / "first", *option) as first:
        for layer, document in ((LARGE, MANIFEST), (b"later", LATER), (LARGE, MANIFEST)):
            await push(first["proxy"], layer, document)
        await written(http, first["tag_index"], *first["origins"])
    with up(tmp_path / "second", *option) as second:
        pulled = await http.call("GET", f"http://{second['agents'][0]['http']}/v2/a/b/manifests/v1")
        assert pulled.body == MANIFEST
        for blob in (LARGE, CONFIG):
            url = f"http://{second['agents'][0]['http']}/v2/a/b/blobs/{Digest.of(blob)}"
            assert (await http.call("GET", url)).body == blob
        tags = await http.json("GET", f"http://{second['proxy']}/v2/a/b/tags/list", dict)
        assert tags["tags"] == ["v1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--backend", "ftp://host/x"], "file, gs"),
        (["--backend", "s3://user:secret@host/x"], "credentials belong into a file"),
        (["--backend", "file:///x", "--backend-option", "region"], "NAME=VALUE"),
        (["--credentials", "x"], "about a --backend"),
    ],
)
def test_a_backend_that_is_none_is_refused_at_once(words: list[str], told: str) -> None:
    process = subprocess.run([OCTOPULL, "up", *words], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert told in process.stderr
    assert "secret" not in process.stderr
