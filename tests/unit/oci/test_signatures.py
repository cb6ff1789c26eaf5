"""Signatures of images: real ones are understood, and nothing else passes for one."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci import signatures
from octopull.oci.signatures import BUNDLE, LAYERS_MAX, PAYLOAD, PAYLOAD_BYTES_MAX, Part
from support import signing
from support.registry import CONFIG, descriptor, digest_of, index, manifest
from support.signing import Signature, Signer

IMAGE = manifest(b"{}", b"a layer")
SIGNER = Signer()
A_PART = Part(PAYLOAD, Digest.of(b"a payload"), 9, "AAAA")
A_BUNDLE = Part(BUNDLE, Digest.of(b"a bundle"), 9, "")

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def statements(signature: Signature) -> list[signatures.Statement]:
    blobs = {digest_of(blob): blob for blob in signature.blobs}
    return [
        signatures.statement(part, blobs[str(part.digest)])
        for part in signatures.parts(signature.manifest)
    ]


@pytest.mark.parametrize("case", signing.golden(), ids=lambda case: str(case["name"]))
def test_what_cosign_wrote_names_its_image_and_is_an_artifact(case: dict[str, Any]) -> None:
    found = signing.of_golden(case)
    image = Digest.of(case["image"].encode())
    (said,) = statements(found)
    assert said.images == {image}
    assert bool(said.hint) == case["name"].startswith("bundle")
    assert signatures.is_artifact(found.manifest)
    assert all(map(signatures.is_document, found.blobs))
    if case["tag"]:
        assert signatures.tag_of(image) == case["tag"]


def test_a_digest_too_long_for_a_tag_has_none() -> None:
    assert signatures.tag_of(Digest.parse(digest_of(b"", "sha512"))) is None


@pytest.mark.parametrize(
    "content",
    [
        IMAGE,
        index(IMAGE),
        manifest(b"{}"),
        manifest(b"{}", layers=[descriptor(b"{}", PAYLOAD), descriptor(b"x", "application/x.tar")]),
        manifest(b"{}", layers=[{**descriptor(b"{}", PAYLOAD), "size": PAYLOAD_BYTES_MAX + 1}]),
        manifest(b"", config={**descriptor(b"{}", CONFIG), "size": PAYLOAD_BYTES_MAX + 1},
                 layers=[descriptor(b"{}", PAYLOAD)]),
        manifest(b"", config=descriptor(b"{}", "application/vnd.docker.container.image.v1+json"),
                 layers=[descriptor(b"{}", PAYLOAD)]),
        manifest(b"{}", layers=[descriptor(b"{}", PAYLOAD)], annotations={"x": "y" * (1 << 20)}),
    ],
)  # fmt: skip
def test_an_image_is_no_artifact_of_signatures(content: bytes) -> None:
    assert not signatures.is_artifact(content)
    if content != manifest(b"{}"):
        with pytest.raises(Misuse):
            signatures.parts(content)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'"x"', b"\x1f\x8b\x08", b"{}x", b"{" * 9999, b"./layer\0" + bytes(512)]
)
def test_a_file_system_is_no_document(content: bytes) -> None:
    assert not signatures.is_document(content)


def test_a_document_is_small() -> None:
    most = PAYLOAD_BYTES_MAX - len(b'{"x":""}')
    assert signatures.is_document(b'{"x":"%s"}' % (b"y" * most))
    assert not signatures.is_document(b'{"x":"%s"}' % (b"y" * (most + 1)))


def test_of_many_signatures_the_newest_are_looked_at() -> None:
    said = [b'{"number": %d}' % number for number in range(LAYERS_MAX + 3)]
    parts = signatures.parts(signing.simple("sha256:x", *((one, b"") for one in said)).manifest)
    assert [one.digest for one in parts] == [Digest.of(one) for one in said[3:]]


@pytest.mark.parametrize(
    "content",
    [
        signing.payload(digest_of(IMAGE), type="something else"),
        signing.payload("sha256:short"),
        signing.payload(digest_of(IMAGE)) + b" " * PAYLOAD_BYTES_MAX,
        b"{}",
        b"",
    ],
)
def test_a_payload_that_signs_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(Misuse):
        signatures.statement(A_PART, content)
    with pytest.raises(Misuse):
        signatures.statement(A_BUNDLE, content)


def test_what_attests_to_something_signs_no_image() -> None:
    attested = SIGNER.bundle(IMAGE, "https://example.com/tests-failed/v1")
    with pytest.raises(Misuse, match="attests"):
        statements(attested)
    whole = json.loads(SIGNER.bundle(IMAGE).blobs[1])
    whole["dsseEnvelope"]["payloadType"] = "text/plain"
    with pytest.raises(Misuse, match="signs no image"):
        signatures.statement(A_BUNDLE, json.dumps(whole).encode())


def test_a_signature_that_is_not_in_base64_is_refused() -> None:
    with pytest.raises(Misuse, match="base64"):
        signatures.statement(
            Part(PAYLOAD, A_PART.digest, 9, "?"), signing.payload(digest_of(IMAGE))
        )


@given(st.binary(max_size=100) | documents.map(lambda one: json.dumps(one).encode()))
def test_any_bytes_are_a_statement_or_a_misuse(content: bytes) -> None:
    for part in (A_PART, A_BUNDLE):
        with suppress(Misuse):
            signatures.statement(part, content)
    with suppress(Misuse):
        signatures.parts(content)
    assert signatures.is_artifact(content) in {True, False}
    assert signatures.is_document(content) in {True, False}


@given(st.data())
def test_a_field_that_is_something_else_is_a_misuse_or_another_statement(
    data: st.DataObject,
) -> None:
    signature = data.draw(st.sampled_from([SIGNER.sign(IMAGE, form) for form in signing.FORMS]))
    part = signatures.parts(signature.manifest)[0]
    before = signatures.statement(part, signature.blobs[1])
    document = json.loads(signature.blobs[1])
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)), label="field")
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(documents)
    with suppress(Misuse):
        after = signatures.statement(part, json.dumps(document).encode())
        assert after.images <= before.images
