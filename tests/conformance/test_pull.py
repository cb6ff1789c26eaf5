"""Pull: manifests, blobs, and whether they exist (distribution-spec 1.1, "Pull")."""

import pytest

from octopull.oci.manifests import MediaType
from support.cluster import content
from support.registry import LAYER, Registry, descriptor, digest_of, index, manifest
from support.requirements import IS, MAY, MUST, SHOULD, requirement

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


@requirement("Determining Support", IS, "GET /v2/ answers 200 OK where the API is implemented")
async def test_the_api_is_there(reader: Registry) -> None:
    answer = await reader("GET", "/v2/")
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@requirement("Pulling manifests", MUST, "<reference> MUST be the digest of the manifest or a tag")
async def test_a_manifest_is_had_by_digest_and_by_tag(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    for reference in ("v1", digest_of(pushed)):
        answer = await reader("GET", f"/v2/{repository}/manifests/{reference}")
        assert (answer.status, answer.body) == (200, pushed)


@pytest.mark.parametrize(
    "reference",
    ["sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32, "a:b", "sha256:", ":", "@v1"],
)
@requirement("Pulling manifests", MUST, "<reference> MUST NOT be in any other format")
async def test_a_malformed_reference_finds_nothing(
    proxy: Registry, reader: Registry, repository: str, reference: str
) -> None:
    await proxy.push_image(repository, "v1")
    answer = await reader("GET", f"/v2/{repository}/manifests/{reference}")
    assert answer.status in {400, 404}
    assert answer.code in {"DIGEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"}


@pytest.mark.parametrize(
    "name", ["a", "0", "a.b", "a_b", "a__b", "a-b", "a----b", "a/b/c/d", "a.b/c__d/e-f/0"]
)
@requirement("Pulling manifests", MUST, "<name> MUST match its regular expression: what does")
async def test_good_names_are_taken(proxy: Registry, reader: Registry, name: str) -> None:
    pushed = await proxy.push_image(name, "v1")
    assert (await reader("GET", f"/v2/{name}/manifests/v1")).body == pushed


@pytest.mark.parametrize(
    "name",
    ["A", "a//b", "/a", "a/", "a..b", "a___b", "a._b", "-a", "a-", "_a", "a b", "%C3%A9", "a/.b",
     "a%2F..%2Fb", "a%00", "a+b", "a:b", "a" * 256],
)  # fmt: skip
@requirement("Pulling manifests", MUST, "<name> MUST match its regular expression: what does not")
async def test_bad_names_are_refused(reader: Registry, name: str) -> None:
    for path in ("manifests/v1", f"blobs/{digest_of(b'')}", "tags/list"):
        answer = await reader("GET", f"/v2/{name.replace(' ', '%20')}/{path}")
        assert (answer.status, answer.code) == (400, "NAME_INVALID"), path


@requirement("Pulling manifests", MUST, "A tag MUST be at most 128 characters in length")
@requirement("Pulling manifests", MUST, "A tag MUST match [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
async def test_tags_keep_to_their_grammar(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    for tag in ("a", "Z", "0", "_", "_.-", "v1.0_rc-1", "t" * 128):
        pushed = await proxy.push_image(repository, tag)
        assert (await reader("GET", f"/v2/{repository}/manifests/{tag}")).body == pushed
    for tag in (".a", "-a", "t" * 129, "a+b", "a%20b", "%C3%A9"):
        answer = await proxy.push_manifest(repository, tag, pushed)
        assert answer.status == 400, tag
        assert (await reader("GET", f"/v2/{repository}/manifests/{tag}")).status in {400, 404}


@pytest.mark.parametrize("media_type", list(MediaType))
@requirement("Pulling manifests", IS, "Content-Type will indicate the type of the manifest")
@requirement("Pulling manifests", SHOULD, "Content-Type SHOULD NOT include parameters")
@requirement("Pulling manifests", SHOULD, "Content-Type SHOULD match what the client pushed")
async def test_a_manifest_comes_back_as_the_type_it_was_pushed_as(
    proxy: Registry, reader: Registry, repository: str, media_type: MediaType
) -> None:
    await proxy.push_image(repository)
    inner = manifest(b"{}")
    pushed = {
        MediaType.OCI_MANIFEST: manifest(b"{}", annotations={"a": "b"}),
        MediaType.OCI_INDEX: index(inner),
        MediaType.DOCKER_MANIFEST: manifest(
            b"{}", mediaType=media_type, config=descriptor(b"{}", DOCKER_CONFIG)
        ),
        MediaType.DOCKER_LIST: index(inner, mediaType=media_type),
    }[media_type]
    assert (await proxy.push_manifest(repository, "v1", pushed)).status == 201
    for reference in ("v1", digest_of(pushed)):
        for method in ("GET", "HEAD"):
            answer = await reader(method, f"/v2/{repository}/manifests/{reference}")
            assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)


@requirement("Pulling manifests", SHOULD, "Content-Type SHOULD match what the client pushed")
async def test_a_manifest_without_media_type_keeps_the_type_it_was_sent_as(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await proxy.push_blob(b"{}", repository)
    pushed = manifest(b"{}", mediaType=None).replace(b'"mediaType": null, ', b"")
    assert b"null" not in pushed
    assert (await proxy.push_manifest(repository, "v1", pushed)).status == 201
    answer = await reader("GET", f"/v2/{repository}/manifests/v1")
    assert answer.headers["Content-Type"] == MediaType.OCI_MANIFEST
    assert answer.body == pushed


@requirement(
    "Pulling manifests", MUST,
    "A GET request to an existing manifest URL MUST provide the expected manifest, with 200 OK",
)  # fmt: skip
@requirement("Pulling manifests", SHOULD, "The answer SHOULD contain Docker-Content-Digest")
async def test_a_manifest_comes_with_its_digest(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1", annotations={"spaces": "  kept  "})
    for reference in ("v1", digest_of(pushed)):
        answer = await reader("GET", f"/v2/{repository}/manifests/{reference}")
        assert (answer.status, answer.body) == (200, pushed)
        assert answer.headers["Docker-Content-Digest"] == digest_of(pushed)


@requirement("Pulling manifests", SHOULD, "Accept says which types a client supports")
async def test_no_accept_header_changes_a_manifest(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    for accept in ("*/*", MediaType.OCI_MANIFEST, "application/json", "text/html;q=0.1, */*;q=0"):
        answer = await reader("GET", f"/v2/{repository}/manifests/v1", Accept=accept)
        assert (answer.status, answer.body) == (200, pushed)


@requirement(
    "Pulling manifests", MUST,
    "If the manifest is not found in the repository, the response code MUST be 404 Not Found",
)  # fmt: skip
async def test_an_unknown_manifest_is_404(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await proxy.push_image(repository, "v1")
    for reference in ("v2", digest_of(b"not pushed"), ".INVALID"):
        answer = await reader("GET", f"/v2/{repository}/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN"), reference


@requirement("Pulling blobs", MUST, "A GET request to an existing blob URL MUST provide the blob")
@requirement("Pulling blobs", MUST, "The response code MUST be 200 OK")
@requirement("Pulling blobs", SHOULD, "The answer SHOULD contain Docker-Content-Digest")
@requirement("Pulling blobs", MUST, "Its value MUST be a digest matching the response body")
@pytest.mark.parametrize("size", [0, 1, 65_537, 3_000_000])
async def test_a_blob_comes_with_its_digest(
    proxy: Registry, reader: Registry, repository: str, size: int
) -> None:
    blob = content(size, size)
    digest = await proxy.push_blob(blob, repository)
    answer = await reader("GET", f"/v2/{repository}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, blob)
    assert answer.headers["Docker-Content-Digest"] == digest_of(answer.body)
    assert answer.headers["Content-Length"] == str(size)


@requirement(
    "Pulling blobs", MUST,
    "If the blob is not found in the repository, the response code MUST be 404 Not Found",
)  # fmt: skip
async def test_an_unknown_blob_is_404(proxy: Registry, reader: Registry, repository: str) -> None:
    await proxy.push_image(repository)
    for digest in (digest_of(b"unknown"), digest_of(b"unknown", "sha512")):
        answer = await reader("GET", f"/v2/{repository}/blobs/{digest}")
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=99990-", 99_990, 100_000),
    ("bytes=-7", 99_993, 100_000), ("bytes=99999-200000", 99_999, 100_000),
    ("bytes=0-", 0, 100_000), ("bytes=-200000", 0, 100_000),
]  # fmt: skip


@requirement("Pulling blobs", SHOULD, "A registry SHOULD support the Range request header")
async def test_a_range_of_a_blob(proxy: Registry, reader: Registry, repository: str) -> None:
    blob = content(100_000, 7)
    path = f"/v2/{repository}/blobs/{await proxy.push_blob(blob, repository)}"
    for header, start, end in RANGES:
        answer = await reader("GET", path, Range=header)
        assert (answer.status, answer.body) == (206, blob[start:end]), header
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/100000"
    for header in ("bytes=100000-", "bytes=100000-100001", "bytes=-0"):
        assert (await reader("GET", path, Range=header)).status == 416, header
    for ignored in ("bytes=9-5", "items=0-1", "bytes=0-1,3-4", "bytes=x-y", "bytes=-"):
        answer = await reader("GET", path, Range=ignored)
        assert (answer.status, answer.body) == (200, blob), ignored


@requirement("Pulling blobs", SHOULD, "A registry SHOULD support the Range request header")
async def test_a_416_tells_the_size(proxy: Registry, reader: Registry, repository: str) -> None:
    """RFC 9110 section 15.5.17, a SHOULD of that one."""
    path = f"/v2/{repository}/blobs/{await proxy.push_blob(b'abc', repository)}"
    answer = await reader("GET", path, Range="bytes=3-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */3")


EXISTS = "Checking if content exists in the registry"


@requirement(EXISTS, MUST, "A HEAD request to an existing blob or manifest MUST return 200 OK")
@requirement(EXISTS, SHOULD, "The answer SHOULD contain Docker-Content-Digest")
@requirement(EXISTS, SHOULD, "The answer SHOULD contain the size in bytes in Content-Length")
async def test_head_says_what_get_would(proxy: Registry, reader: Registry, repository: str) -> None:
    pushed = await proxy.push_image(repository, "v1")
    blob = content(70_000, 8)
    digest = await proxy.push_blob(blob, repository)
    for path, size, found in (
        ("manifests/v1", len(pushed), digest_of(pushed)),
        (f"manifests/{digest_of(pushed)}", len(pushed), digest_of(pushed)),
        (f"blobs/{digest}", len(blob), digest_of(blob)),
    ):
        head = await reader("HEAD", f"/v2/{repository}/{path}")
        got = await reader("GET", f"/v2/{repository}/{path}")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(size)
        assert head.headers["Docker-Content-Digest"] == found
        assert {**head.headers, "Date": ""} == {**got.headers, "Date": ""}


@requirement(EXISTS, MUST, "If the blob or manifest is not found, the code MUST be 404 Not Found")
async def test_head_of_what_is_not_there(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await proxy.push_image(repository, "v1")
    unknown = digest_of(b"unknown")
    for path in ("manifests/v2", f"manifests/{unknown}", f"blobs/{unknown}", "manifests/.bad"):
        answer = await reader("HEAD", f"/v2/{repository}/{path}")
        assert (answer.status, answer.body) == (404, b"")


@requirement("HTTP", MAY, "RFC 9110 section 13.1.2: If-None-Match is answered 304 Not Modified")
async def test_what_a_client_has_is_not_sent_again(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1")
    blob = await proxy.push_blob(b"layer", repository)
    for path in ("manifests/v1", f"manifests/{digest_of(pushed)}", f"blobs/{blob}"):
        url = f"/v2/{repository}/{path}"
        tag = (await reader("GET", url)).headers["ETag"]
        for header in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            for method in ("GET", "HEAD"):
                answer = await reader(method, url, If_None_Match=header)
                assert (answer.status, answer.body) == (304, b""), (path, header)
                assert answer.headers["ETag"] == tag
        assert (await reader("GET", url, If_None_Match='"other"')).status == 200
    await proxy.push_image(repository, "v1", annotations={"moved": "yes"})
    old = f'"{digest_of(pushed)}"'
    answer = await reader("GET", f"/v2/{repository}/manifests/v1", If_None_Match=old)
    assert answer.status == 200


@requirement("HTTP", MAY, "containerd's ns parameter, which names an upstream, is accepted")
async def test_a_mirror_request_is_served(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = await proxy.push_image(repository, "v1", layers=[descriptor(b"{}", LAYER)])
    for path in ("manifests/v1", f"blobs/{digest_of(b'{}')}"):
        answer = await reader("GET", f"/v2/{repository}/{path}?ns=registry.example")
        assert answer.status == 200
    assert digest_of(pushed) in answer.headers["ETag"] or answer.body == b"{}"


@requirement(
    "Pulling manifests", MUST,
    "If the manifest is not found in the repository, the response code MUST be 404 Not Found",
)  # fmt: skip
async def test_a_manifest_of_another_repository_is_404(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = digest_of(await proxy.push_image(f"{repository}/first", "v1"))
    await proxy.push_image(f"{repository}/second", "v1", annotations={"another": "image"})
    assert (await reader("GET", f"/v2/{repository}/first/manifests/{pushed}")).status == 200
    for elsewhere in ("second", "never-pushed-to"):
        for method in ("GET", "HEAD"):
            answer = await reader(method, f"/v2/{repository}/{elsewhere}/manifests/{pushed}")
            assert answer.status == 404


@requirement("Deviations", IS, "A blob is found under any repository, unless deleted there")
async def test_a_blob_is_found_by_digest_wherever_it_was_pushed(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    digest = await proxy.push_blob(b"anywhere", f"{repository}/first")
    answer = await reader("GET", f"/v2/{repository}/second/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"anywhere")
