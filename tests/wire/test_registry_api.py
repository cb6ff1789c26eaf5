"""The registry API as clients use and abuse it (OCI distribution-spec 1.1)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.kernel.digest import Digest
from octopull.oci.manifests import MANIFEST_BYTES_MAX, MediaType
from support.cluster import content
from support.registry import Registry, manifest
from support.waiting import until


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest.fixture
async def agent(cluster: Cluster) -> AsyncIterator[Registry]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Registry(session, cluster.agents[0].address)


def code(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"])


async def test_push_then_pull_through_proxy_and_agent(proxy: Registry, agent: Registry) -> None:
    layer = content(700_000, 1)
    await proxy.push_blob(b"{}")
    digest = await proxy.push_blob(layer)
    stored = manifest(b"{}", layer)
    status, headers, _ = await proxy(
        "PUT", "/v2/a/b/manifests/v1", stored, Content_Type=MediaType.OCI_MANIFEST
    )
    assert (status, headers["Docker-Content-Digest"]) == (201, str(Digest.of(stored)))
    for registry in (proxy, agent):
        assert (await registry("GET", "/v2/"))[0] == 200
        for reference in ("v1", Digest.of(stored)):
            status, headers, body = await registry(
                "GET", f"/v2/a/b/manifests/{reference}?ns=docker.io"
            )
            assert (status, body) == (200, stored)
            assert headers["Content-Type"] == MediaType.OCI_MANIFEST
            status, headers, body = await registry("HEAD", f"/v2/a/b/manifests/{reference}")
            assert (status, headers["Content-Length"], body) == (200, str(len(stored)), b"")
        status, headers, _ = await registry("HEAD", f"/v2/a/b/blobs/{digest}")
        assert (status, headers["Content-Length"]) == (200, str(len(layer)))
        status, headers, body = await registry("GET", f"/v2/a/b/blobs/{digest}")
        assert (status, headers["Docker-Content-Digest"]) == (200, str(digest))
        assert body == layer
        status, headers, body = await registry("GET", f"/v2/a/b/blobs/{digest}", Range="bytes=5-9")
        assert (status, body) == (206, layer[5:10])
        assert headers["Content-Range"] == f"bytes 5-9/{len(layer)}"
        assert (await registry("GET", f"/v2/a/b/blobs/{digest}", Range="bytes=700000-"))[0] == 416


async def test_a_chunked_upload_keeps_its_order_and_can_be_resumed(proxy: Registry) -> None:
    blob = content(300_000, 2)
    status, headers, _ = await proxy("POST", "/v2/a/b/blobs/uploads/")
    assert status == 202
    at = headers["Location"]
    status, headers, _ = await proxy("PATCH", at, blob[:100_000], Content_Range="0-99999")
    assert (status, headers["Range"]) == (202, "0-99999")
    for wrong in ("0-99999", "200000-299999"):
        status, headers, body = await proxy("PATCH", at, blob[:100_000], Content_Range=wrong)
        assert (status, headers["Range"], code(body)) == (416, "0-99999", "BLOB_UPLOAD_INVALID")
    status, headers, _ = await proxy("GET", at)
    assert (status, headers["Range"]) == (204, "0-99999")
    status, headers, _ = await proxy("PATCH", at, blob[100_000:200_000])
    assert (status, headers["Range"]) == (202, "0-199999")
    digest = Digest.of(blob)
    status, headers, _ = await proxy(
        "PUT", f"{at}?digest={digest}", blob[200_000:], Content_Range="200000-299999"
    )
    assert (status, headers["Docker-Content-Digest"]) == (201, str(digest))
    assert (await proxy("GET", f"/v2/a/b/blobs/{digest}"))[2] == blob
    status, _, body = await proxy("GET", at)
    assert (status, code(body)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_cancelled_upload_and_a_wrong_digest_leave_nothing(
    proxy: Registry, tmp_path: Path
) -> None:
    _, headers, _ = await proxy("POST", "/v2/a/b/blobs/uploads/")
    assert (await proxy("DELETE", headers["Location"]))[0] == 204
    assert (await proxy("DELETE", headers["Location"]))[0] == 404
    status, _, body = await proxy(
        "POST", f"/v2/a/b/blobs/uploads/?digest={Digest.of(b'x')}", b"something else"
    )
    assert (status, code(body)) == (400, "DIGEST_INVALID")
    assert not list((tmp_path / "origin" / "uploads").iterdir())
    assert not [path for path in (tmp_path / "origin" / "blobs").rglob("*") if path.is_file()]


async def test_the_put_that_ends_an_upload_may_be_repeated_with_its_body_and_without(
    proxy: Registry,
) -> None:
    blob, other = b"a blob", await proxy.push_blob(b"of somebody else")
    _, headers, _ = await proxy("POST", "/v2/a/b/blobs/uploads/")
    at = headers["Location"]
    for body in (blob, blob, None):
        assert (await proxy("PUT", f"{at}?digest={Digest.of(blob)}", body))[0] == 201
    for body in (blob, None):
        status, _, answer = await proxy("PUT", f"{at}?digest={other}", body)
        assert (status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_mount_finds_what_is_there_and_else_opens_a_session(proxy: Registry) -> None:
    digest = await proxy.push_blob(b"shared", "first")
    mount = f"/v2/second/blobs/uploads/?mount={digest}&from=first"
    assert (await proxy("POST", mount))[0] == 201
    missing = Digest.of(b"missing")
    assert (await proxy("POST", f"/v2/second/blobs/uploads/?mount={missing}&from=first"))[0] == 202


async def test_tags_move_and_every_reader_sees_it_at_once(proxy: Registry, agent: Registry) -> None:
    await proxy.push_blob(b"{}")
    for version in range(3):
        stored = manifest(b"{}", annotations={"version": str(version)})
        assert (await proxy("PUT", "/v2/a/b/manifests/latest", stored))[0] == 201
        for registry in (proxy, agent):
            assert (await registry("GET", "/v2/a/b/manifests/latest"))[2] == stored


async def test_tags_are_listed_in_order_and_in_pages(proxy: Registry, agent: Registry) -> None:
    await proxy.push_blob(b"{}")
    for tag in ("b", "a", "c"):
        await proxy("PUT", f"/v2/a/b/manifests/{tag}", manifest(b"{}"))
    for registry in (proxy, agent):
        assert json.loads((await registry("GET", "/v2/a/b/tags/list"))[2]) == {
            "name": "a/b", "tags": ["a", "b", "c"]}  # fmt: skip
        _, headers, body = await registry("GET", "/v2/a/b/tags/list?n=2")
        assert json.loads(body)["tags"] == ["a", "b"]
        path = headers["Link"].partition(">")[0].lstrip("<")
        assert json.loads((await registry("GET", path))[2])["tags"] == ["c"]
        assert json.loads((await registry("GET", "/v2/a/b/tags/list?n=0"))[2])["tags"] == []
        assert (await registry("GET", "/v2/no/such/tags/list"))[0] == 404


async def test_a_manifest_whose_parts_are_missing_is_refused(proxy: Registry) -> None:
    await proxy.push_blob(b"{}")
    status, _, body = await proxy("PUT", "/v2/a/b/manifests/v1", manifest(b"{}", b"not pushed"))
    assert (status, code(body)) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert (await proxy("GET", "/v2/a/b/manifests/v1"))[0] == 404


async def test_an_index_is_checked_to_the_last_layer_of_its_images(
    proxy: Registry, cluster: Cluster
) -> None:
    await proxy.push_blob(b"{}")
    child = manifest(b"{}", b"missing layer")
    # Not through the API, which would refuse the child: as if its layer had been lost since.
    await proxy.push_blob(child)
    descriptor = {
        "mediaType": MediaType.OCI_MANIFEST, "digest": str(Digest.of(child)), "size": len(child),
    }  # fmt: skip
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX, "manifests": [descriptor]}
    ).encode()
    status, _, body = await proxy(
        "PUT", "/v2/a/b/manifests/multi", index, Content_Type=MediaType.OCI_INDEX
    )
    assert (status, json.loads(body)["errors"][0]["message"].startswith("refers to")) == (400, True)
    await proxy.push_blob(b"missing layer")
    assert (await proxy("PUT", "/v2/a/b/manifests/multi", index, Content_Type=MediaType.OCI_INDEX))[
        0
    ] == 201


BAD = [
    ("GET", "/v2/a/b/blobs/sha256:short", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/b/blobs/sha512:" + "a" * 128, 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/b/blobs/md5:" + "a" * 32, 400, "DIGEST_INVALID"),
    ("GET", "/v2/UPPER/blobs/" + str(Digest.of(b"")), 400, "NAME_INVALID"),
    ("GET", "/v2/a/%2e%2e/%2e%2e/etc/blobs/" + str(Digest.of(b"")), 400, "NAME_INVALID"),
    ("GET", "/v2/a/..%2f..%2fetc/manifests/v1", 400, "NAME_INVALID"),
    ("GET", "/v2/a/b/manifests/..%2fpasswd", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/b/manifests/" + "t" * 129, 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/b/manifests/no-such-tag", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/b/blobs/" + str(Digest.of(b"nobody has this")), 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/b/tags/list?n=-1", 400, None),
    ("GET", "/no/such/path", 404, None),
    ("DELETE", "/v2/", 405, None),
]


@pytest.mark.parametrize(("method", "path", "status", "wanted"), BAD)
async def test_bad_requests_get_a_clear_error_from_proxy_and_agent(
    proxy: Registry, agent: Registry, method: str, path: str, status: int, wanted: str | None
) -> None:
    for registry in (proxy, agent):
        got, _, body = await registry(method, path)
        assert (got, wanted or code(body)) == (status, code(body))
        assert b"Traceback" not in body
        assert (await registry("GET", "/health"))[0] == 200


async def test_bad_uploads_and_manifests_store_nothing(proxy: Registry, tmp_path: Path) -> None:
    _, headers, _ = await proxy("POST", "/v2/a/b/blobs/uploads/")
    at = headers["Location"]
    for method, path, data, status in (
        ("PUT", f"{at}?digest=nonsense", b"", 400),
        ("PUT", at, b"", 400),
        ("PATCH", "/v2/a/b/blobs/uploads/forged", b"x", 400),
        ("PATCH", "/v2/a/b/blobs/uploads/00.11", b"x", 404),
        ("PATCH", "/v2/a/b/blobs/uploads/" + "a" * 200, b"x", 400),
        ("PUT", "/v2/a/b/manifests/v1", b"no json", 400),
        ("PUT", "/v2/a/b/manifests/v1", b"[" * 100_000, 400),
        ("PUT", "/v2/a/b/manifests/v1", b" " * (MANIFEST_BYTES_MAX + 1), 413),
        ("PUT", f"/v2/a/b/manifests/{Digest.of(b'other')}", manifest(b"{}"), 400),
        ("PUT", "/v2/a/b/manifests/v1", b'{"schemaVersion": 1}', 405),
    ):
        got, _, body = await proxy(method, path, data)
        assert got == status, (method, path, body)
        assert json.loads(body)["errors"]
    for header in ("x", "5-1", "0-99999999999999999999", "bytes 0-1"):
        got, _, _ = await proxy("PATCH", at, b"abc", Content_Range=header)
        assert got == 416
    assert not [path for path in (tmp_path / "origin" / "blobs").rglob("*") if path.is_file()]


async def test_an_agent_takes_no_push(agent: Registry) -> None:
    status, _, body = await agent("POST", "/v2/a/b/blobs/uploads/")
    assert (status, code(body)) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    "body", [b'{"peer":{"id":"' + b"a" * 40 + b'","host":"\xff","port":1},"swarms":[]}',
             b'{"\xff":1}',
             b'{"peer":{"id":"' + b"a" * 40 + b'","host":"h","port":1,"zone":"' + b"z" * 65 + b'"},"swarms":[]}',
             b"", b"[]", b"{", b'{"peer": 1, "swarms": []}', b"[" * 100_000,
             b'{"peer":{"id":"x","host":"h","port":1},"swarms":[]}',
             b'{"peer":{"id":"' + b"a" * 40 + b'","host":"h","port":99999},"swarms":[]}',
             b'{"peer":{"id":"' + b"a" * 40 + b'","host":"h","port":1,"kind":"origin"},"swarms":[]}',
             b'{"peer":{"id":"' + b"a" * 40 + b'","host":"h","port":1},"swarms":[{"info_hash":"x",'
             b'"digest":"y","namespace":"n","complete":false,"wants":3}]}'],
)  # fmt: skip
async def test_a_malformed_announce_is_refused(
    proxy: Registry, cluster: Cluster, body: bytes
) -> None:
    status, _, answer = await proxy("POST", f"http://{cluster.tracker.address}/announce", body)
    assert status == 400
    assert b"Traceback" not in answer


async def test_what_the_client_has_is_not_sent_again(proxy: Registry, agent: Registry) -> None:
    config = await proxy.push_blob(b"{}")
    stored = manifest(b"{}")
    await proxy("PUT", "/v2/a/b/manifests/v1", stored)
    missing = Digest.of(b"missing")
    for registry in (proxy, agent):
        for path, digest in (
            ("manifests/v1", Digest.of(stored)), (f"manifests/{Digest.of(stored)}", "*"),
            (f"blobs/{config}", config),
        ):  # fmt: skip
            for tag in (f'"{digest}"', f'W/"{digest}"', f'"other", "{digest}"'):
                wanted = "*" if digest == "*" else tag
                status, headers, body = await registry(
                    "GET", f"/v2/a/b/{path}", If_None_Match=wanted
                )
                assert (status, body) == (304, b""), (path, wanted)
                assert headers["ETag"].startswith('"sha256:')
            assert (await registry("GET", f"/v2/a/b/{path}", If_None_Match='"other"'))[0] == 200
        for kind in ("manifests", "blobs"):
            assert (await registry("GET", f"/v2/a/b/{kind}/{missing}", If_None_Match="*"))[0] == 404


async def test_the_catalog_lists_repositories_in_pages(proxy: Registry, agent: Registry) -> None:
    for repository in ("b", "a/x", "c"):
        await proxy.push_blob(b"{}", repository)
        await proxy("PUT", f"/v2/{repository}/manifests/v1", manifest(b"{}"))
    for registry in (proxy, agent):
        _, headers, body = await registry("GET", "/v2/_catalog?n=2")
        assert json.loads(body) == {"repositories": ["a/x", "b"]}
        path = headers["Link"].partition(">")[0].lstrip("<")
        assert json.loads((await registry("GET", path))[2]) == {"repositories": ["c"]}


async def test_a_put_that_broke_off_can_be_repeated(proxy: Registry, cluster: Cluster) -> None:
    blob = content(6_000_000, 3)
    _, headers, _ = await proxy("POST", "/v2/a/b/blobs/uploads/")
    at = headers["Location"]
    path = f"{at}?digest={Digest.of(blob)}"
    await proxy("PATCH", at, blob[:1000])
    _, writer = await asyncio.open_connection("127.0.0.1", cluster.proxy.port)
    writer.write(f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5999000\r\n\r\n".encode())
    writer.write(blob[1000:4_000_000])
    await writer.drain()

    async def rewound() -> bool:
        return (await proxy("GET", at))[1]["Range"] == "0-999"

    async def receiving() -> bool:
        return not await rewound()

    await until(receiving, 20)
    writer.transport.abort()
    await until(rewound, 20)
    status, _, body = await proxy("PUT", path, blob[1000:])
    assert status == 201, body
    assert (await proxy("GET", f"/v2/a/b/blobs/{Digest.of(blob)}"))[2] == blob
