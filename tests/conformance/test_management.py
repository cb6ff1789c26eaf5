"""Content management: deletes, what they leave, and pushing again ("Content Management").

An agent learns of a deletion a little later: what it must answer then is waited for.
"""

import pytest

from octopull.oci.manifests import MediaType
from support.registry import Registry, descriptor, digest_of, index, manifest
from support.requirements import IS, MAY, MUST, requirement
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAG_S = 15.0
TAGS, MANIFESTS, BLOBS = "Deleting tags", "Deleting Manifests", "Deleting Blobs"


async def gone(proxy: Registry, reader: Registry, path: str) -> None:
    """``path`` is 404: at once from the proxy, soon from an agent."""
    for method in ("GET", "HEAD"):

        async def missing(method: str = method) -> bool:
            return (await reader(method, path)).status == 404

        if reader is proxy:
            assert await missing()
        else:
            await until(missing, LAG_S)


async def back(proxy: Registry, reader: Registry, path: str, content: bytes) -> None:
    """``path`` is ``content`` again: at once from the proxy, soon from an agent."""

    async def there() -> bool:
        answer = await reader("GET", path)
        return (answer.status, answer.body) == (200, content)

    if reader is proxy:
        assert await there()
    else:
        await until(there, LAG_S)


@requirement(TAGS, MUST, "Upon success, the registry MUST respond with 202 Accepted")
@requirement(TAGS, IS, "Once deleted, a GET of the tag will return a 404")
async def test_a_deleted_tag_is_gone_and_its_manifest_is_not(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    await proxy.push_image(repository, "v2")
    manifests = f"/v2/{repository}/manifests"
    assert (await reader("GET", f"{manifests}/v1")).body == pushed
    answer = await proxy("DELETE", f"{manifests}/v1")
    assert (answer.status, answer.body) == (202, b"")
    await gone(proxy, reader, f"{manifests}/v1")
    for reference in ("v2", digest_of(pushed)):
        assert (await reader("GET", f"{manifests}/{reference}")).body == pushed
    assert (await reader("GET", f"/v2/{repository}/tags/list")).json["tags"] == ["v2"]


@requirement(TAGS, IS, "A tag that is not there is 404")
async def test_a_tag_is_deleted_once(proxy: Registry, repository: str) -> None:
    await proxy.push_image(repository, "v1")
    path = f"/v2/{repository}/manifests/v1"
    assert [(await proxy("DELETE", path)).status for _ in range(2)] == [202, 404]
    answer = await proxy("DELETE", f"/v2/{repository}/manifests/.bad")
    assert answer.status in {400, 404}


@requirement(TAGS, IS, "A deleted tag may be pushed again")
async def test_a_tag_is_pushed_again(proxy: Registry, reader: Registry, repository: str) -> None:
    await proxy.push_image(repository, "v1")
    path = f"/v2/{repository}/manifests/v1"
    assert (await proxy("DELETE", path)).status == 202
    pushed = await proxy.push_image(repository, "v1", annotations={"again": "yes"})
    await back(proxy, reader, path, pushed)
    assert (await reader("GET", f"/v2/{repository}/tags/list")).json["tags"] == ["v1"]


@requirement(MANIFESTS, MUST, "Upon success, the registry MUST respond with 202 Accepted")
@requirement(MANIFESTS, IS, "A GET of the digest and any tag pointing to it will return a 404")
async def test_a_deleted_manifest_is_gone_with_its_tags(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    await proxy.push_image(repository, "v2")
    other = await proxy.push_image(repository, "other", annotations={"other": "yes"})
    manifests = f"/v2/{repository}/manifests"
    for reference in ("v1", digest_of(pushed)):
        assert (await reader("GET", f"{manifests}/{reference}")).status == 200
    answer = await proxy("DELETE", f"{manifests}/{digest_of(pushed)}")
    assert (answer.status, answer.body) == (202, b"")
    for reference in ("v1", "v2", digest_of(pushed)):
        await gone(proxy, reader, f"{manifests}/{reference}")
    assert (await reader("GET", f"/v2/{repository}/tags/list")).json["tags"] == ["other"]
    assert (await reader("GET", f"{manifests}/other")).body == other


@requirement(MANIFESTS, MUST, "If the repository does not exist, the response MUST be 404")
@requirement(MANIFESTS, IS, "A manifest that is not there is 404")
async def test_a_manifest_that_is_not_there(proxy: Registry, repository: str) -> None:
    for reference in (digest_of(b"nothing"), "v1"):
        answer = await proxy("DELETE", f"/v2/{repository}/manifests/{reference}")
        assert answer.status == 404
        assert answer.code in {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
    pushed = await proxy.push_image(repository, "v1")
    path = f"/v2/{repository}/manifests/{digest_of(pushed)}"
    assert [(await proxy("DELETE", path)).status for _ in range(2)] == [202, 404]


@requirement(MANIFESTS, IS, "A deletion is one repository's")
async def test_a_manifest_deleted_here_stays_there(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    there = f"{repository}/there"
    await proxy.push_image(there, "v1")
    path = f"manifests/{digest_of(pushed)}"
    assert (await proxy("DELETE", f"/v2/{repository}/{path}")).status == 202
    await gone(proxy, reader, f"/v2/{repository}/{path}")
    for reference in ("manifests/v1", path):
        assert (await reader("GET", f"/v2/{there}/{reference}")).body == pushed


@requirement(MANIFESTS, IS, "A deleted manifest may be pushed again, its blobs being there")
@pytest.mark.parametrize("way", ["digest", "tag"])
async def test_a_manifest_is_pushed_again(
    proxy: Registry, reader: Registry, repository: str, way: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    path = f"/v2/{repository}/manifests/{digest_of(pushed)}"
    assert (await reader("GET", path)).status == 200
    assert (await proxy("DELETE", path)).status == 202
    await gone(proxy, reader, path)
    reference = "v2" if way == "tag" else digest_of(pushed)
    assert (await proxy.push_manifest(repository, reference, pushed)).status == 201
    await back(proxy, reader, path, pushed)
    assert (await proxy("GET", f"/v2/{repository}/manifests/v1")).status == 404


@requirement(MANIFESTS, IS, "A deleted manifest is no referrer any more; nor is its subject")
async def test_referrers_after_deletes(proxy: Registry, reader: Registry, repository: str) -> None:
    subject = await proxy.push_image(repository, "v1")
    about = [
        await proxy.push_image(
            repository, subject=descriptor(subject, MediaType.OCI_MANIFEST),
            annotations={"n": str(number)},
        )
        for number in (1, 2)
    ]  # fmt: skip
    path = f"/v2/{repository}/referrers/{digest_of(subject)}"
    for left, document in ((1, about[0]), (1, subject), (0, about[1])):
        gone_path = f"/v2/{repository}/manifests/{digest_of(document)}"
        assert (await proxy("DELETE", gone_path)).status == 202
        answer = await reader("GET", path)
        assert (answer.status, len(answer.json["manifests"])) == (200, left)


@requirement(MANIFESTS, IS, "The images of a deleted index stay")
async def test_an_index_goes_alone(proxy: Registry, repository: str) -> None:
    image = await proxy.push_image(repository)
    listing = index(image)
    assert (await proxy.push_manifest(repository, "v1", listing)).status == 201
    manifests = f"/v2/{repository}/manifests"
    assert (await proxy("DELETE", f"{manifests}/{digest_of(listing)}")).status == 202
    assert (await proxy("GET", f"{manifests}/v1")).status == 404
    assert (await proxy("GET", f"{manifests}/{digest_of(image)}")).body == image


@requirement(BLOBS, MUST, "Upon success, the registry MUST respond with code 202 Accepted")
@requirement(BLOBS, IS, "A deleted blob is found no more, and may be pushed again")
async def test_a_deleted_blob_is_gone_until_pushed_again(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    blob = f"blob of {repository}".encode()
    path = f"/v2/{repository}/blobs/{await proxy.push_blob(blob, repository)}"
    assert (await reader("GET", path)).body == blob
    answer = await proxy("DELETE", path)
    assert (answer.status, answer.body) == (202, b"")
    await gone(proxy, reader, path)
    await proxy.push_blob(blob, repository)
    await back(proxy, reader, path, blob)


@requirement(BLOBS, MUST, "If the blob is not found, a 404 Not Found code MUST be returned")
async def test_a_blob_that_is_not_there(proxy: Registry, repository: str) -> None:
    path = f"/v2/{repository}/blobs/{digest_of(b'never pushed')}"
    answer = await proxy("DELETE", path)
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    digest = await proxy.push_blob(b"twice", repository)
    path = f"/v2/{repository}/blobs/{digest}"
    assert [(await proxy("DELETE", path)).status for _ in range(2)] == [202, 404]
    assert (await proxy("DELETE", f"/v2/{repository}/blobs/sha256:12")).status == 400


@requirement(BLOBS, IS, "A deletion is one repository's")
async def test_a_blob_deleted_here_stays_there(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    there = f"{repository}/there"
    blob = f"shared by {repository}".encode()
    digest = await proxy.push_blob(blob, repository)
    await proxy.push_blob(blob, there)
    assert (await proxy("DELETE", f"/v2/{repository}/blobs/{digest}")).status == 202
    await gone(proxy, reader, f"/v2/{repository}/blobs/{digest}")
    assert (await reader("GET", f"/v2/{there}/blobs/{digest}")).body == blob


@requirement(BLOBS, MAY, "A manifest that refers to a deleted blob is refused until it is back")
async def test_no_manifest_refers_to_a_deleted_blob(proxy: Registry, repository: str) -> None:
    layer = f"layer of {repository}".encode()
    await proxy.push_blob(b"{}", repository)
    digest = await proxy.push_blob(layer, repository)
    assert (await proxy("DELETE", f"/v2/{repository}/blobs/{digest}")).status == 202
    document = manifest(b"{}", layer)
    answer = await proxy.push_manifest(repository, "v1", document)
    if answer.status == 201:
        # Taken, since the bytes are there still: then they must be served again.
        found = await proxy("GET", f"/v2/{repository}/blobs/{digest}")
        assert (found.status, found.body) == (200, layer)
    else:
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        await proxy.push_blob(layer, repository)
        assert (await proxy.push_manifest(repository, "v1", document)).status == 201
