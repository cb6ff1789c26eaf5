"""Push: blobs at once, in chunks, and mounted (distribution-spec 1.1, "Pushing blobs")."""

import re

import pytest

from support.cluster import content
from support.registry import Answer, Registry, digest_of
from support.requirements import IS, MAY, MUST, SHOULD, requirement

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOB = content(300_000, 9)
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


async def begin(proxy: Registry, repository: str) -> str:
    """Open a session; its location."""
    answer = await proxy("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    return answer.headers["Location"]


def closing(location: str, digest: str) -> str:
    """Where a session is closed, however its location looks."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


async def assert_pullable(proxy: Registry, answer: Answer, blob: bytes) -> None:
    assert answer.status == 201
    found = await proxy("GET", answer.headers["Location"])
    assert (found.status, found.body) == (200, blob)


async def assert_absent(proxy: Registry, repository: str, blob: bytes) -> None:
    assert (await proxy("HEAD", f"/v2/{repository}/blobs/{digest_of(blob)}")).status == 404


PUT = "POST then PUT"


@requirement(PUT, MUST, "The response to POST MUST be 202 Accepted, and MUST include Location")
@requirement(PUT, MUST, "The location MUST contain a UUID, a unique session ID")
@requirement(PUT, MAY, "The location MAY be absolute, or it MAY be relative")
async def test_a_session_has_a_location_of_its_own(proxy: Registry, repository: str) -> None:
    locations = {await begin(proxy, repository) for _ in range(20)}
    assert len(locations) == 20
    for location in locations:
        assert location.startswith((f"/v2/{repository}/blobs/uploads/", "http"))
        assert re.search(r"[0-9a-f]{32}", location.replace("-", ""))


@requirement(PUT, MUST, "Registries MUST support concurrent uploads (next version)")
async def test_sessions_of_one_repository_do_not_meet(proxy: Registry, repository: str) -> None:
    blobs = [content(10_000, seed) for seed in range(5)]
    at = [await begin(proxy, repository) for _ in blobs]
    for start in (0, 5_000):
        for number, location in enumerate(at):
            chunk = blobs[number][start : start + 5_000]
            at[number] = (await proxy("PATCH", location, chunk)).headers["Location"]
    for location, blob in zip(at, blobs, strict=True):
        await assert_pullable(proxy, await proxy("PUT", closing(location, digest_of(blob))), blob)


@ALGORITHMS
@requirement(PUT, MUST, "On completion the response MUST have code 201 Created and Location")
@requirement(PUT, IS, "<blob-location> is a pullable blob URL")
@requirement("Content digests", MAY, "image-spec 1.1: sha512 is a registered algorithm")
async def test_a_blob_is_pushed_by_post_and_put(
    proxy: Registry, repository: str, algorithm: str
) -> None:
    digest = digest_of(BLOB, algorithm)
    location = await begin(proxy, repository)
    answer = await proxy(
        "PUT", closing(location, digest), BLOB, Content_Type="application/octet-stream"
    )
    await assert_pullable(proxy, answer, BLOB)
    assert answer.headers["Docker-Content-Digest"] == digest


POST = "Single POST"


@ALGORITHMS
@requirement(POST, MAY, "Registries MAY support pushing blobs using a single POST request")
@requirement(POST, MUST, "Completion MUST return 201 Created and MUST include Location")
async def test_a_blob_is_pushed_by_one_post(
    proxy: Registry, repository: str, algorithm: str
) -> None:
    digest = digest_of(b"one post", algorithm)
    path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
    await assert_pullable(proxy, await proxy("POST", path, b"one post"), b"one post")


@ALGORITHMS
@requirement(POST, MUST, "The <digest> MUST match the blob's digest")
async def test_a_wrong_digest_is_refused_and_leaves_nothing(
    proxy: Registry, repository: str, algorithm: str
) -> None:
    claimed = digest_of(b"claimed", algorithm)
    path = f"/v2/{repository}/blobs/uploads/"
    answers = [await proxy("POST", f"{path}?digest={claimed}", b"sent")]
    location = await begin(proxy, repository)
    answers.append(await proxy("PUT", closing(location, claimed), b"sent"))
    for answer in answers:
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    for blob in (b"claimed", b"sent"):
        await assert_absent(proxy, repository, blob)
    assert (await proxy("GET", f"/v2/{repository}/blobs/{claimed}")).status == 404


@pytest.mark.parametrize("digest", ["", "nonsense", "sha256:12", "md5:" + "0" * 32, "sha256"])
@requirement("Pushing blobs", SHOULD, "An invalid or unknown digest SHOULD be 400 (next version)")
async def test_what_is_no_digest_is_refused(proxy: Registry, repository: str, digest: str) -> None:
    location = await begin(proxy, repository)
    for answer in (
        await proxy("PUT", closing(location, digest), b"x"),
        await proxy("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", b"x"),
    ):
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


CHUNKS = "Pushing a blob in chunks"


@ALGORITHMS
@requirement(CHUNKS, MUST, "<range> MUST be inclusive on both ends")
@requirement(CHUNKS, MUST, "Each successful chunk MUST be answered 202 Accepted")
@requirement(CHUNKS, MUST, "And MUST have the headers Location and Range: 0-<end-of-range>")
@requirement(CHUNKS, MUST, "The session MUST be closed with PUT, answered 201 with Location")
@requirement(CHUNKS, MAY, "The final chunk MAY be uploaded using a PATCH request")
async def test_a_blob_is_pushed_in_chunks(proxy: Registry, repository: str, algorithm: str) -> None:
    at = await begin(proxy, repository)
    for start in range(0, len(BLOB), 100_000):
        answer = await proxy(
            "PATCH", at, BLOB[start : start + 100_000],
            Content_Range=f"{start}-{start + 99_999}", Content_Type="application/octet-stream",
        )  # fmt: skip
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + 99_999}")
        at = answer.headers["Location"]
    answer = await proxy("PUT", closing(at, digest_of(BLOB, algorithm)))
    await assert_pullable(proxy, answer, BLOB)


@requirement(CHUNKS, MAY, "The final chunk MAY be uploaded in the closing PUT request")
@requirement(CHUNKS, MAY, "The final chunk MAY have any length")
@requirement(CHUNKS, SHOULD, "OCI-Chunk-Min-Length SHOULD tell of a minimum: there is none")
@pytest.mark.parametrize("last", [1, 7, 150_000])
async def test_the_last_chunk_comes_with_put(proxy: Registry, repository: str, last: int) -> None:
    opened = await proxy("POST", f"/v2/{repository}/blobs/uploads/")
    assert "OCI-Chunk-Min-Length" not in opened.headers
    split = len(BLOB) - last
    answer = await proxy("PATCH", opened.headers["Location"], BLOB[:1], Content_Range="0-0")
    answer = await proxy(
        "PATCH", answer.headers["Location"], BLOB[1:split], Content_Range=f"1-{split - 1}"
    )
    answer = await proxy(
        "PUT", closing(answer.headers["Location"], digest_of(BLOB)), BLOB[split:],
        Content_Range=f"{split}-{len(BLOB) - 1}",
    )  # fmt: skip
    await assert_pullable(proxy, answer, BLOB)


@requirement(CHUNKS, MUST, "The first chunk's range MUST begin with 0")
@requirement(CHUNKS, MUST, "Chunks MUST be uploaded in order; out of order MUST be answered 416")
async def test_a_chunk_out_of_order_is_416_and_changes_nothing(
    proxy: Registry, repository: str
) -> None:
    at = await begin(proxy, repository)
    first = await proxy("PATCH", at, BLOB[1:11], Content_Range="1-10")
    assert (first.status, first.code) == (416, "BLOB_UPLOAD_INVALID")
    at = (await proxy("PATCH", at, BLOB[:100], Content_Range="0-99")).headers["Location"]
    for wrong in ("0-99", "99-198", "101-200", "200-299"):
        answer = await proxy("PATCH", at, BLOB[:100], Content_Range=wrong)
        assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID"), wrong
        assert (answer.headers["Range"], answer.headers["Location"]) == ("0-99", at)
    assert (await proxy("PATCH", at, b"", Content_Range="100-99")).status == 416
    path = closing(at, digest_of(BLOB[:200]))
    assert (await proxy("PUT", path, BLOB[100:200], Content_Range="200-299")).status == 416
    answer = await proxy("PUT", path, BLOB[100:200], Content_Range="100-199")
    await assert_pullable(proxy, answer, BLOB[:200])


@pytest.mark.parametrize(
    "header",
    ["0", "-9", "0-", "a-b", "9-0", "0-9,10-19", "0-8", "0-10", "+0-9", "0x0-9", "0 - 9",
     "0-99999999999999999999", "items 0-9/10"],
)  # fmt: skip
@requirement(CHUNKS, MUST, "<range> MUST match ^[0-9]+-[0-9]+$")
@requirement(CHUNKS, IS, "<length> is the content-length, in bytes, of the chunk")
async def test_a_range_that_is_none_or_of_another_length_is_refused(
    proxy: Registry, repository: str, header: str
) -> None:
    at = await begin(proxy, repository)
    answer = await proxy("PATCH", at, BLOB[:10], Content_Range=header)
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
    await assert_pullable(proxy, await proxy("PUT", closing(at, digest_of(b""))), b"")


@requirement(CHUNKS, IS, "A GET request may be used to retrieve the current valid offset")
@requirement(CHUNKS, MUST, "It MUST be answered 204 No Content, with Location and Range")
async def test_an_upload_is_resumed_where_it_broke_off(proxy: Registry, repository: str) -> None:
    at = await begin(proxy, repository)
    at = (await proxy("PATCH", at, BLOB[:1000], Content_Range="0-999")).headers["Location"]
    assert (await proxy("PATCH", at, BLOB[:10], Content_Range="5-14")).status == 416
    answer = await proxy("GET", at)
    assert (answer.status, answer.headers["Range"], answer.body) == (204, "0-999", b"")
    resumed = int(answer.headers["Range"].partition("-")[2]) + 1
    answer = await proxy(
        "PATCH", answer.headers["Location"], BLOB[resumed:],
        Content_Range=f"{resumed}-{len(BLOB) - 1}",
    )  # fmt: skip
    answer = await proxy("PUT", closing(answer.headers["Location"], digest_of(BLOB)))
    await assert_pullable(proxy, answer, BLOB)


@requirement(CHUNKS, MUST, "The closing PUT MUST include the digest of the whole blob")
async def test_put_wants_the_digest_of_the_whole(proxy: Registry, repository: str) -> None:
    at = await begin(proxy, repository)
    at = (await proxy("PATCH", at, b"first", Content_Range="0-4")).headers["Location"]
    answer = await proxy("PUT", at, b"last", Content_Range="5-8")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    answer = await proxy("PUT", closing(at, digest_of(b"last")), b"last", Content_Range="5-8")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    await assert_absent(proxy, repository, b"last")


@requirement(CHUNKS, MAY, "docker's way: chunks without Content-Range, of unknown length")
async def test_a_streamed_chunk_needs_no_range(proxy: Registry, repository: str) -> None:
    async def stream() -> object:
        for start in range(0, len(BLOB), 50_000):
            yield BLOB[start : start + 50_000]

    at = await begin(proxy, repository)
    answer = await proxy("PATCH", at, stream())
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(BLOB) - 1}")
    answer = await proxy("PUT", closing(answer.headers["Location"], digest_of(BLOB)))
    await assert_pullable(proxy, answer, BLOB)


@ALGORITHMS
@pytest.mark.parametrize("way", ["post", "put", "patch"])
@requirement(CHUNKS, IS, "A blob of no bytes is a blob")
async def test_an_empty_blob(proxy: Registry, repository: str, algorithm: str, way: str) -> None:
    digest = digest_of(b"", algorithm)
    if way == "post":
        answer = await proxy("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", b"")
    else:
        at = await begin(proxy, repository)
        if way == "patch":
            at = (await proxy("PATCH", at, b"")).headers["Location"]
        answer = await proxy("PUT", closing(at, digest))
    await assert_pullable(proxy, answer, b"")


@requirement(CHUNKS, MAY, "digest-algorithm names the algorithm beforehand (next version)")
async def test_the_algorithm_may_be_told_beforehand(proxy: Registry, repository: str) -> None:
    answer = await proxy("POST", f"/v2/{repository}/blobs/uploads/?digest-algorithm=sha512")
    assert answer.status == 202
    path = closing(answer.headers["Location"], digest_of(BLOB, "sha512"))
    await assert_pullable(proxy, await proxy("PUT", path, BLOB), BLOB)


@requirement(CHUNKS, MAY, "DELETE cancels a session (end-14, next version)")
async def test_a_cancelled_session_is_gone(proxy: Registry, repository: str) -> None:
    at = await begin(proxy, repository)
    assert (await proxy("PATCH", at, b"abc")).status == 202
    assert (await proxy("DELETE", at)).status == 204
    for method, path in (
        ("GET", at), ("DELETE", at), ("PATCH", at), ("PUT", closing(at, digest_of(b"abc"))),
    ):  # fmt: skip
        answer = await proxy(method, path, b"" if method == "PATCH" else None)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN"), method
    await assert_absent(proxy, repository, b"abc")


MOUNT = "Mounting a blob from another repository"


@ALGORITHMS
@requirement(MOUNT, MUST, "A successful mount MUST be 201 Created and MUST contain Location")
@requirement(MOUNT, IS, "Location will contain the URL to access the accepted layer")
@requirement(MOUNT, IS, "Docker-Content-Digest returns the canonical digest")
@pytest.mark.parametrize("named", ["from", "nothing"])
@requirement(MOUNT, MAY, "The registry MAY treat the from parameter as optional")
async def test_a_mounted_blob_is_pullable(
    proxy: Registry, repository: str, algorithm: str, named: str
) -> None:
    blob = f"{repository} has this".encode()
    digest = digest_of(blob, algorithm)
    await proxy("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", blob)
    source = f"&from={repository}" if named == "from" else ""
    answer = await proxy("POST", f"/v2/other/{repository}/blobs/uploads/?mount={digest}{source}")
    await assert_pullable(proxy, answer, blob)
    assert f"/v2/other/{repository}/" in answer.headers["Location"]
    assert answer.headers["Docker-Content-Digest"] == digest


@requirement(MOUNT, SHOULD, "If unable to mount, it SHOULD return 202: the session has begun")
async def test_what_cannot_be_mounted_is_uploaded(proxy: Registry, repository: str) -> None:
    blob = f"{repository} lacks this".encode()
    query = f"mount={digest_of(blob)}&from={repository}"
    answer = await proxy("POST", f"/v2/other/{repository}/blobs/uploads/?{query}")
    assert answer.status == 202
    path = closing(answer.headers["Location"], digest_of(blob))
    await assert_pullable(proxy, await proxy("PUT", path, blob), blob)


@requirement(MOUNT, SHOULD, "If unable to mount, it SHOULD return 202: not where it was deleted")
async def test_nothing_is_mounted_from_where_it_was_deleted(
    proxy: Registry, repository: str
) -> None:
    digest = await proxy.push_blob(f"{repository} had this".encode(), repository)
    assert (await proxy("DELETE", f"/v2/{repository}/blobs/{digest}")).status == 202
    query = f"mount={digest}&from={repository}"
    answer = await proxy("POST", f"/v2/other/{repository}/blobs/uploads/?{query}")
    assert answer.status == 202


@pytest.mark.parametrize("mount", ["", "nonsense", "sha256:12"])
@requirement(MOUNT, SHOULD, "If unable to mount, it SHOULD return 202: nonsense is not mounted")
async def test_a_mount_of_nonsense_mounts_nothing(
    proxy: Registry, repository: str, mount: str
) -> None:
    answer = await proxy("POST", f"/v2/{repository}/blobs/uploads/?mount={mount}&from=a")
    assert answer.status in {202, 400}
