import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Fault,
    InvalidManifest,
    InvalidRange,
    Misuse,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from octopull.oci.errors import OciCode, body, exact, refusal
from octopull.oci.listing import Page
from octopull.oci.manifests import MANIFEST_BYTES_MAX, MediaType, media_type_of, parse
from octopull.oci.ranges import Span, parse_content_range, parse_range

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(content: bytes, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(content)),
        "size": len(content),
        **more,
    }


def manifest(**changes: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "config": descriptor(b"{}", "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(b"layer")],
        **changes,
    }
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def test_a_manifest_refers_to_its_config_and_layers() -> None:
    found = parse(manifest(), None)
    assert found.media_type is MediaType.OCI_MANIFEST
    assert [one.digest for one in found.references] == [Digest.of(b"{}"), Digest.of(b"layer")]


def test_an_index_refers_to_manifests() -> None:
    child = descriptor(manifest(), MediaType.OCI_MANIFEST)
    content = json.dumps({"schemaVersion": 2, "manifests": [child]}).encode()
    found = parse(content, MediaType.OCI_INDEX)
    assert found.media_type is MediaType.OCI_INDEX
    assert found.references[0].is_manifest
    assert media_type_of(content) == MediaType.OCI_INDEX


def test_a_foreign_layer_need_not_be_pushed() -> None:
    found = parse(manifest(layers=[descriptor(b"far", urls=["https://elsewhere.example"])]), None)
    assert [one.required for one in found.references] == [True, False]


def test_a_content_type_that_contradicts_the_manifest_is_refused() -> None:
    parse(manifest(), f"{MediaType.OCI_MANIFEST}; charset=utf-8")
    with pytest.raises(InvalidManifest):
        parse(manifest(), MediaType.DOCKER_MANIFEST)


def test_schema_1_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        parse(b'{"schemaVersion": 1}', None)


@pytest.mark.parametrize(
    "changes",
    [{"schemaVersion": 3}, {"mediaType": "text/html"}, {"layers": {}}, {"layers": [1]},
     {"config": None}, {"layers": [{"mediaType": LAYER, "digest": "sha256:x", "size": 1}]},
     {"layers": [{**descriptor(b"x"), "size": -1}]}, {"layers": [{**descriptor(b"x"), "size": True}]},
     {"subject": "no descriptor"}],
)  # fmt: skip
def test_a_malformed_manifest_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest):
        parse(manifest(**changes), None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff",
        b'{"a":"\xff"}',
    ],
)
def test_what_is_no_json_object_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse(content, None)


def test_a_manifest_beyond_four_mebibytes_is_too_large() -> None:
    with pytest.raises(TooLarge):
        parse(b" " * (MANIFEST_BYTES_MAX + 1), None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "mediaType", "subject"]), json_values
    )
)
def test_any_json_is_a_manifest_or_a_misuse(document: dict[str, Any]) -> None:
    with contextlib.suppress(Misuse):
        parse(json.dumps({"schemaVersion": 2, **document}).encode(), None)


@given(st.integers(1, 1000), st.integers(0, 1100), st.integers(0, 1100))
def test_a_range_agrees_with_slicing(size: int, start: int, end: int) -> None:
    content = bytes(n % 251 for n in range(size))
    try:
        span = parse_range(f"bytes={start}-{end}", size)
    except InvalidRange:
        assert start >= size
        return
    if span is None:
        assert end < start
    else:
        assert content[span.start : span.start + span.length] == content[start : end + 1]


def test_open_and_suffix_ranges() -> None:
    assert parse_range("bytes=10-", 100) == Span(10, 90)
    assert parse_range("bytes=-10", 100) == Span(90, 10)
    assert parse_range("bytes=-1000", 100) == Span(0, 100)
    assert parse_range(None, 100) is None
    for ignored in ("items=0-1", "bytes=0-1,5-6", "bytes=a-b", "bytes=5-2"):
        assert parse_range(ignored, 100) is None
    for outside in ("bytes=100-", "bytes=-0"):
        with pytest.raises(InvalidRange):
            parse_range(outside, 100)


@given(st.text(max_size=30))
def test_any_content_range_is_a_span_or_invalid(header: str) -> None:
    with contextlib.suppress(InvalidRange):
        assert parse_content_range(header).length > 0


def test_a_content_range_includes_its_end() -> None:
    assert parse_content_range("0-4") == Span(0, 5)
    assert parse_content_range("bytes 5-9/10") == Span(5, 5)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(NotFound(""), 404), (Unavailable(""), 503), (TooLarge(""), 413), (InvalidRange(""), 416),
     (InvalidManifest(""), 400), (Unsupported(""), 405)],
)  # fmt: skip
def test_each_fault_has_its_status(fault: Fault, status: int) -> None:
    assert refusal(fault).status == status


def test_an_exact_code_wins_and_details_stay_inside() -> None:
    fault = exact(NotFound("no such blob", path="/secret"), OciCode.BLOB_UNKNOWN)
    assert body(fault) == {
        "errors": [{"code": "BLOB_UNKNOWN", "message": "no such blob", "detail": {}}]
    }


def test_a_full_page_links_to_the_next() -> None:
    page = Page.parse({"n": "2", "last": "a"})
    assert page.link("/v2/r/tags/list", ["b", "c"]) == {
        "Link": '</v2/r/tags/list?n=2&last=c>; rel="next"'
    }
    assert page.link("/v2/r/tags/list", ["b"]) == {}
    assert Page.parse({"n": "0"}).link("/x", []) == {}
    for bad in ("-1", "x", "9" * 10, "٣"):
        with pytest.raises(Misuse):
            Page.parse({"n": bad})
