"""Push: manifests of any kind, with and without subject ("Pushing Manifests")."""

import json
from typing import Any

import pytest

from octopull.oci.manifests import MediaType
from support.registry import (
    CONFIG,
    EMPTY,
    LAYER,
    Registry,
    descriptor,
    digest_of,
    index,
    manifest,
)  # fmt: skip
from support.requirements import IS, MAY, MUST, SHOULD, requirement

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECTION = "Pushing Manifests"
FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)


async def pushed(proxy: Registry, repository: str, content: bytes, reference: str = "") -> None:
    """``content`` is taken, and comes back byte for byte."""
    answer = await proxy.push_manifest(repository, reference or digest_of(content), content)
    assert answer.status == 201, answer
    found = await proxy("GET", answer.headers["Location"])
    assert (found.status, found.body) == (200, content)


@requirement("Push", MUST, "A manifest whose subject does not exist MUST initially be accepted")
async def test_a_subject_need_not_exist(proxy: Registry, repository: str) -> None:
    await proxy.push_blob(b"{}", repository)
    about = descriptor(b"never pushed", MediaType.OCI_MANIFEST)
    await pushed(proxy, repository, manifest(b"{}", subject=about), "v1")
    await pushed(proxy, repository, index(subject=about), "v2")


@pytest.mark.parametrize("kind", ["config", "layer", "child"])
@requirement("Push", MAY, "A manifest that refers to what does not exist MAY be rejected")
@requirement("Push", MUST, "It MUST result in one or more MANIFEST_BLOB_UNKNOWN errors")
async def test_a_manifest_waits_for_its_parts(proxy: Registry, repository: str, kind: str) -> None:
    part = f"{kind} of {repository}".encode()
    document = {
        "config": manifest(part),
        "layer": manifest(b"{}", part),
        "child": index(manifest(b"{}", annotations={"of": repository})),
    }[kind]
    await proxy.push_blob(b"{}", repository)
    for reference in ("v1", digest_of(document)):
        answer = await proxy.push_manifest(repository, reference, document)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert (await proxy("GET", f"/v2/{repository}/manifests/{reference}")).status == 404
    await proxy.push_blob(part, repository)
    await proxy.push_image(repository, annotations={"of": repository})
    await pushed(proxy, repository, document, "v1")


@requirement(SECTION, SHOULD, "The registry SHOULD ignore parameters on the Content-Type header")
async def test_parameters_of_the_type_are_ignored(proxy: Registry, repository: str) -> None:
    content = await proxy.push_image(repository)
    for parameters in ("; charset=utf-8", ";charset=utf-8", "; a=b; c=d"):
        sent = f"{MediaType.OCI_MANIFEST}{parameters}"
        assert (await proxy.push_manifest(repository, "v1", content, sent)).status == 201
        found = await proxy("GET", f"/v2/{repository}/manifests/v1")
        assert found.headers["Content-Type"] == MediaType.OCI_MANIFEST


@requirement(SECTION, IS, "Content-Type and mediaType of a manifest agree")
async def test_a_manifest_sent_as_something_else_is_refused(
    proxy: Registry, repository: str
) -> None:
    content = await proxy.push_image(repository)
    for sent in (MediaType.OCI_INDEX, MediaType.DOCKER_MANIFEST, "text/html"):
        answer = await proxy.push_manifest(repository, "v1", content, sent)
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


@requirement(SECTION, MUST, "The <reference> MUST be a digest or a tag")
async def test_a_reference_of_another_form_is_refused(proxy: Registry, repository: str) -> None:
    content = await proxy.push_image(repository)
    for reference in ("sha256:abc", "a:b", "@v1", "md5:" + "0" * 32, ".v1", "t" * 129):
        assert (await proxy.push_manifest(repository, reference, content)).status == 400


@requirement(SECTION, MAY, "The list of blobs MAY be empty")
async def test_no_layers_and_no_manifests(proxy: Registry, repository: str) -> None:
    await proxy.push_blob(b"{}", repository)
    await pushed(proxy, repository, manifest(b"{}"), "image")
    await pushed(proxy, repository, index(), "index")


@requirement(SECTION, MUST, "The manifest MUST be stored in the exact byte representation")
async def test_the_bytes_are_kept(proxy: Registry, reader: Registry, repository: str) -> None:
    await proxy.push_blob(b"{}", repository)
    document = json.loads(manifest(b"{}", annotations={"name": "ö <&> \u2028"}))
    for number, content in enumerate(
        (
            json.dumps(document, indent=7).encode(),
            json.dumps(document, separators=(",", ":")).encode() + b"\n\n",
            json.dumps(document, ensure_ascii=False).encode(),
            json.dumps(document, sort_keys=True).encode().replace(b"schema", b"sch\\u0065ma"),
            json.dumps({**document, "unknown": {"deep": [True, 1.50, None]}}).encode(),
        )
    ):
        assert (await proxy.push_manifest(repository, f"v{number}", content)).status == 201
        for reference in (f"v{number}", digest_of(content)):
            found = await reader("GET", f"/v2/{repository}/manifests/{reference}")
            assert found.body == content


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@requirement(SECTION, MUST, "On success, 201 Created MUST be returned, with Location")
@requirement(SECTION, IS, "The <location> is a pullable manifest URL")
@requirement(SECTION, MUST, "Docker-Content-Digest MUST be equal to the client's digest")
async def test_a_push_by_digest(
    proxy: Registry, reader: Registry, repository: str, algorithm: str
) -> None:
    config, layer = f"{{}} {algorithm}".encode(), f"layer {algorithm}".encode()
    for blob in (config, layer):
        digest = digest_of(blob, algorithm)
        await proxy("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", blob)
    content = manifest(
        b"", config=descriptor(config, CONFIG, algorithm),
        layers=[descriptor(layer, LAYER, algorithm)],
    )  # fmt: skip
    digest = digest_of(content, algorithm)
    answer = await proxy.push_manifest(repository, digest, content)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    found = await reader("GET", answer.headers["Location"])
    assert (found.body, found.headers["Docker-Content-Digest"]) == (content, digest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@requirement(SECTION, IS, "A digest that is not the manifest's is DIGEST_INVALID")
async def test_a_push_by_another_digest_is_refused(
    proxy: Registry, repository: str, algorithm: str
) -> None:
    content = await proxy.push_image(repository)
    other = digest_of(b"other", algorithm)
    answer = await proxy.push_manifest(repository, other, content)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await proxy("GET", f"/v2/{repository}/manifests/{other}")).status == 404


@requirement(SECTION, MUST, "An attempt to pull a nonexistent repository MUST return 404")
async def test_a_repository_that_does_not_exist(reader: Registry, repository: str) -> None:
    for path in ("manifests/v1", f"manifests/{digest_of(b'-')}", f"blobs/{digest_of(b'-')}"):
        assert (await reader("GET", f"/v2/{repository}/{path}")).status == 404
    answer = await reader("GET", f"/v2/{repository}/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


@requirement(SECTION, SHOULD, "Manifests of at least 4 megabytes SHOULD be supported")
async def test_a_large_manifest(proxy: Registry, reader: Registry, repository: str) -> None:
    await proxy.push_blob(b"{}", repository)
    content = manifest(b"{}", annotations={"filler": ""})
    filler = b"x" * (4 * 1024 * 1024 - len(content))
    content = content.replace(b'"filler": ""', b'"filler": "' + filler + b'"')
    assert len(content) == 4 * 1024 * 1024
    answer = await proxy.push_manifest(repository, "v1", content)
    assert answer.status == 201
    assert (await reader("GET", f"/v2/{repository}/manifests/v1")).body == content


@requirement(SECTION, SHOULD, "A registry SHOULD enforce some limit on the manifest size")
@requirement(SECTION, SHOULD, "Beyond the limit it SHOULD respond 413 Payload Too Large")
async def test_a_manifest_beyond_the_limit(proxy: Registry, repository: str) -> None:
    content = manifest(b"{}", annotations={"filler": "x" * 9_000_000})
    answer = await proxy.push_manifest(repository, "v1", content)
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert (await proxy("GET", f"/v2/{repository}/manifests/v1")).status == 404


@requirement(SECTION, IS, "Manifests of any artifactType, config type and layer type are taken")
async def test_artifacts_of_any_type(proxy: Registry, repository: str) -> None:
    layer = b"anything"
    for blob in (b"{}", layer):
        await proxy.push_blob(blob, repository)
    kinds: tuple[dict[str, Any], ...] = (
        {"artifactType": "application/vnd.example.thing"},
        {"config": descriptor(b"{}", EMPTY), "artifactType": "text/plain"},
        {"config": descriptor(b"{}", "application/vnd.example+json; v=1")},
        {"layers": [descriptor(layer, "x/y")], "annotations": {}},
        {"layers": [descriptor(layer, LAYER, annotations={"title": "ö"})]},
        {"anything": ["else", {"is": None}]},
    )
    for number, fields in enumerate(kinds):
        await pushed(proxy, repository, manifest(b"{}", **fields), f"v{number}")


@requirement(SECTION, IS, "Descriptors may carry their content (image-spec: data)")
async def test_the_data_field_is_kept(proxy: Registry, repository: str) -> None:
    await proxy.push_blob(b"{}", repository)
    config = descriptor(b"{}", EMPTY, data="e30=")
    await pushed(proxy, repository, manifest(b"{}", config=config, layers=[config]), "v1")


@pytest.mark.parametrize("media_type", FOREIGN)
@requirement(SECTION, IS, "Layers that may not be distributed need not be pushed (image-spec)")
async def test_layers_that_live_elsewhere(
    proxy: Registry, repository: str, media_type: str
) -> None:
    await proxy.push_blob(b"{}", repository)
    layer = descriptor(b"elsewhere", media_type, urls=["https://example.com/layer"])
    await pushed(proxy, repository, manifest(b"{}", layers=[layer]), "v1")


@requirement(SECTION, IS, "An index may hold indexes, of other types and for platforms")
async def test_a_nested_index(proxy: Registry, repository: str) -> None:
    image = await proxy.push_image(repository)
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    inner = index(manifests=[descriptor(image, MediaType.OCI_MANIFEST, platform=platform)])
    await pushed(proxy, repository, inner)
    outer = index(manifests=[descriptor(inner, MediaType.OCI_INDEX)], artifactType="a/b")
    await pushed(proxy, repository, outer, "v1")


@requirement(SECTION, MAY, "A push by digest may set tags, told by OCI-Tag (next version)")
async def test_a_push_by_digest_sets_tags(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    content = await proxy.push_image(repository)
    path = f"{digest_of(content)}?tag=one&tag=two"
    answer = await proxy.push_manifest(repository, path, content)
    told = {tag.strip() for tag in answer.headers["OCI-Tag"].split(",")}
    assert (answer.status, told) == (201, {"one", "two"})
    for tag in ("one", "two"):
        assert (await reader("GET", f"/v2/{repository}/manifests/{tag}")).body == content
    answer = await proxy.push_manifest(repository, f"{digest_of(content)}?tag=.bad", content)
    assert answer.status == 400


SUBJECT = "Pushing Manifests with Subject"


@pytest.mark.parametrize("kind", ["image", "index"])
@requirement(SUBJECT, MUST, "The response MUST have OCI-Subject: <subject digest>")
async def test_the_subject_is_acknowledged(proxy: Registry, repository: str, kind: str) -> None:
    about = await proxy.push_image(repository)
    subject = descriptor(about, MediaType.OCI_MANIFEST)
    document = manifest(b"{}", subject=subject) if kind == "image" else index(subject=subject)
    for reference in ("v1", digest_of(document)):
        answer = await proxy.push_manifest(repository, reference, document)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, digest_of(about))
    assert "OCI-Subject" not in (await proxy.push_manifest(repository, "v2", about)).headers
