"""Endpoints, error codes and warnings ("API")."""

import re

import pytest

from octopull.oci.errors import OciCode
from support.registry import Answer, Registry, digest_of, manifest
from support.requirements import IS, MAY, MUST, SHOULD, requirement

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERRORS = "Error Codes"
CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
    "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
NOWHERE = digest_of(b"nowhere")
SESSION = "/v2/a/blobs/uploads/000000000000." + "0" * 32

WRONG = [
    ("code-1", "GET", f"/v2/a/blobs/{NOWHERE}", b"", 404, "BLOB_UNKNOWN"),
    ("code-2", "PATCH", "SESSION", b"x", 416, "BLOB_UPLOAD_INVALID"),
    ("code-3", "GET", SESSION, b"", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("code-3", "PATCH", SESSION, b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("code-3", "PUT", f"{SESSION}?digest={NOWHERE}", b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("code-3", "DELETE", SESSION, b"", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("code-4", "POST", f"/v2/a/blobs/uploads/?digest={NOWHERE}", b"x", 400, "DIGEST_INVALID"),
    ("code-5", "PUT", "/v2/a/manifests/v1", manifest(b"?"), 400, "MANIFEST_BLOB_UNKNOWN"),
    ("code-6", "PUT", "/v2/a/manifests/v1", b"?", 400, "MANIFEST_INVALID"),
    ("code-7", "GET", "/v2/a/manifests/v0", b"", 404, "MANIFEST_UNKNOWN"),
    ("code-8", "GET", "/v2/A/manifests/v0", b"", 400, "NAME_INVALID"),
    ("code-9", "GET", "/v2/no/such/tags/list", b"", 404, "NAME_UNKNOWN"),
    ("code-10", "PUT", "/v2/a/manifests/v1", b" " * 9_000_000, 413, "SIZE_INVALID"),
    ("code-13", "PATCH", "/v2/a/manifests/v1", b"", 405, "UNSUPPORTED"),
    ("code-13", "POST", "/v2/", b"", 405, "UNSUPPORTED"),
    ("code-13", "PUT", "/v2/a/tags/list", b"", 405, "UNSUPPORTED"),
]  # fmt: skip


def assert_shape(answer: Answer) -> None:
    """A failure, in the specification's words, that tells nothing of the inside."""
    assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
    assert list(answer.json) == ["errors"]
    assert answer.json["errors"]
    for error in answer.json["errors"]:
        assert set(error) <= {"code", "message", "detail"}
        assert re.fullmatch("[A-Z_]+", error["code"])
        assert error["code"] in CODES
        assert isinstance(error["message"], str)
    assert b"Traceback" not in answer.body
    assert b"octopull" not in answer.body


@pytest.mark.parametrize(("number", "method", "path", "body", "status", "code"), WRONG)
@requirement(ERRORS, MUST, "If the body is JSON, it MUST have the format {errors: [...]}")
@requirement(ERRORS, MUST, "The code MUST be unique, of uppercase characters and underscores")
@requirement(ERRORS, MAY, "message and detail are OPTIONAL; message SHOULD be readable")
@requirement(ERRORS, MUST, "The code MUST be one of code-1 to code-14")
async def test_each_failure_has_its_code(
    proxy: Registry, number: str, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    if path == "SESSION":
        path = (await proxy("POST", "/v2/a/blobs/uploads/")).headers["Location"]
    answer = await proxy(method, path, body or None, Content_Range="5-5")
    assert (answer.status, answer.code) == (status, code), number
    assert_shape(answer)


@requirement(ERRORS, MUST, "The code MUST be one of code-1 to code-14")
@pytest.mark.parametrize(
    "path",
    ["/v2/a/manifests/v0", f"/v2/a/blobs/{NOWHERE}", "/v2/A/manifests/v0", "/v2/a/blobs/x",
     "/v2/no/such/tags/list", "/v2/a/referrers/x", "/v2/a/unknown", "/v2/nothing", "/v2/a/tags/list?n=x",
     "/v2/a%0A/manifests/v0", "/v2//", "/v2/%ff/manifests/v0", "/v2/_catalog?n=x"],
)  # fmt: skip
async def test_reads_fail_in_the_same_words_everywhere(reader: Registry, path: str) -> None:
    answer = await reader("GET", path)
    assert 400 <= answer.status < 500
    assert_shape(answer)


@requirement(ERRORS, IS, "An agent serves pulls: what changes a repository is UNSUPPORTED")
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/a/blobs/uploads/"), ("PUT", "/v2/a/manifests/v1"), ("PATCH", SESSION),
     ("PUT", SESSION), ("DELETE", "/v2/a/manifests/v1"), ("DELETE", f"/v2/a/blobs/{NOWHERE}"),
     ("DELETE", SESSION)],
)  # fmt: skip
async def test_an_agent_takes_no_push(agent: Registry, method: str, path: str) -> None:
    answer = await agent(method, path)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert_shape(answer)


@requirement(ERRORS, MUST, "Each code a 4xx carries is one of the specification's")
async def test_no_other_code_is_known() -> None:
    # These two are the bodies of 5xx, of which the specification says nothing.
    assert {code.value for code in OciCode} - CODES == {"UNKNOWN", "UNAVAILABLE"}


@requirement("Warnings", MUST, "Warning headers MUST be 299 - without date, of at most 4096 bytes")
@requirement("Warnings", MAY, "Registries MAY include warnings")
async def test_warnings_if_any_are_well_formed(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await proxy.push_image(repository, "v1")
    for path in ("manifests/v1", "tags/list", "manifests/v2"):
        answer = await reader("GET", f"/v2/{repository}/{path}")
        warnings = [value for name, value in answer.headers.items() if name.lower() == "warning"]
        assert all(re.fullmatch(r'299 - "[^"]*"', warning) for warning in warnings)
        assert sum(map(len, warnings)) <= 4096


ENDPOINTS = "Endpoints"


@requirement("Requirements", MUST, "All registries MUST support all APIs of Pull")
@requirement(ENDPOINTS, IS, "end-1, end-2, end-3: reads answer 200, or 404")
@requirement(ENDPOINTS, IS, "end-8, end-12: content discovery answers 200, or 404 or 400")
async def test_the_table_of_endpoints_that_read(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    pushed = digest_of(await proxy.push_image(repository, "v1"))
    here, blob = f"/v2/{repository}", digest_of(b"{}")
    for end, path, found, missing in (
        ("end-1", "/v2/", 200, None),
        ("end-2", f"{here}/blobs/{blob}", 200, f"{here}/blobs/{NOWHERE}"),
        ("end-3", f"{here}/manifests/v1", 200, f"{here}/manifests/v2"),
        ("end-3", f"{here}/manifests/{pushed}", 200, f"{here}/manifests/{NOWHERE}"),
        ("end-8a", f"{here}/tags/list", 200, "/v2/no/such/tags/list"),
        ("end-8b", f"{here}/tags/list?n=1&last=a", 200, "/v2/no/such/tags/list?n=1"),
        ("end-12a", f"{here}/referrers/{pushed}", 200, None),
        ("end-12b", f"{here}/referrers/{pushed}?artifactType=a", 200, None),
    ):
        assert (await reader("GET", path)).status == found, end
        if missing is not None:
            answer = await reader("GET", missing)
            assert answer.status == 404, end
            assert_shape(answer)
    assert (await reader("GET", f"{here}/referrers/x")).status == 400


@requirement("Requirements", SHOULD, "Registries SHOULD support Push, Discovery and Management")
@requirement("Requirements", MUST, "All APIs of a claimed category MUST be implemented")
@requirement(ENDPOINTS, IS, "end-4 to end-7, end-11, end-13: pushes answer as the table says")
@requirement(ENDPOINTS, IS, "end-9, end-10: deletes answer 202, or 404")
async def test_the_table_of_endpoints_that_write(proxy: Registry, repository: str) -> None:
    here, blob = f"/v2/{repository}", digest_of(b"{}")
    uploads = f"{here}/blobs/uploads/"
    opened = await proxy("POST", uploads)
    at = opened.headers["Location"]
    content = manifest(b"{}")
    for end, method, path, body, status in (
        ("end-4a", "POST", uploads, None, 202),
        ("end-4b", "POST", f"{uploads}?digest={blob}", b"{}", 201),
        ("end-5", "PATCH", at, b"{}", 202),
        ("end-13", "GET", at, None, 204),
        ("end-6", "PUT", f"{at}?digest={blob}", None, 201),
        ("end-6", "PUT", f"{SESSION}?digest={blob}", None, 404),
        ("end-7", "PUT", f"{here}/manifests/v1", content, 201),
        ("end-11", "POST", f"/v2/b/blobs/uploads/?mount={blob}&from={repository}", None, 201),
        ("end-11", "POST", f"/v2/b/blobs/uploads/?mount={NOWHERE}&from={repository}", None, 202),
        ("end-9", "DELETE", f"{here}/manifests/v1", None, 202),
        ("end-9", "DELETE", f"{here}/manifests/v1", None, 404),
        ("end-9", "DELETE", f"{here}/manifests/{digest_of(content)}", None, 202),
        ("end-10", "DELETE", f"{here}/blobs/{blob}", None, 202),
        ("end-10", "DELETE", f"{here}/blobs/{blob}", None, 404),
    ):
        answer = await proxy(method, path, body)
        assert answer.status == status, (end, answer)
        if status == 404:
            assert_shape(answer)
