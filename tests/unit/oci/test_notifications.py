"""What registries tell of pushes, what image names may mean, and images for platforms."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, InvalidManifest, InvalidName, Misuse, NotFound
from octopull.kernel.names import TagName
from octopull.oci.image_names import readings
from octopull.oci.manifests import MediaType, parse
from octopull.oci.notifications import EVENTS_MAX, Pushed, read
from octopull.oci.platforms import for_platforms
from support.registry import descriptor, index, manifest

DIGEST = Digest.of(b"manifest")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["events", "action", "target", "type", "event_data", "resources", "repository",
             "tag", "digest", "mediaType", "request", "repo_full_name"]
        ),
        inner | st.sampled_from(["push", "PUSH_ARTIFACT", "a/b", MediaType.OCI_MANIFEST]),
        max_size=4,
    ),
)  # fmt: skip


def event(**target: Any) -> dict[str, Any]:
    """As distribution sends it (its documentation's example, shortened)."""
    return {
        "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
        "timestamp": "2016-03-09T14:44:26.402973972-08:00",
        "action": "push",
        "target": {"mediaType": MediaType.DOCKER_MANIFEST, "size": 708, "length": 708, **target},
        "request": {"id": "6df24a34", "addr": "192.0.2.1:42961", "host": "registry.example:5000",
                    "method": "PUT", "useragent": "curl/7.38.0"},
        "actor": {},
        "source": {"addr": "registry:5000", "instanceID": "a53db899"},
    }  # fmt: skip


def envelope(*events: dict[str, Any]) -> bytes:
    return json.dumps({"events": events}).encode()


def webhook(**resource: Any) -> bytes:
    """As Harbor sends it."""
    return json.dumps(
        {
            "type": "PUSH_ARTIFACT",
            "occur_at": 1586922308,
            "operator": "admin",
            "event_data": {
                "resources": [{"resource_url": "hub.example/lib/web:v1", **resource}],
                "repository": {"date_created": 1586922308, "name": "web", "namespace": "lib",
                               "repo_full_name": "lib/web", "repo_type": "private"},
            },
        }
    ).encode()  # fmt: skip


def test_a_push_to_distribution_names_the_image_by_its_digest() -> None:
    body = envelope(event(repository="a/b", digest=str(DIGEST), tag="latest"))
    assert read(body) == [Pushed("registry.example:5000", "a/b", DIGEST, "latest")]
    (by_tag,) = read(envelope(event(repository="a/b", tag="latest")))
    assert (by_tag.digest, by_tag.tag) == (None, "latest")


def test_layers_other_actions_and_repetitions_are_passed_over() -> None:
    pushed = event(repository="a/b", digest=str(DIGEST))
    layer = event(repository="a/b", digest=str(DIGEST), mediaType="application/octet-stream")
    other = event(repository="other", digest=str(DIGEST))
    pull, mount = {**other, "action": "pull"}, {**other, "action": "mount"}
    deleted = {"action": "delete", "target": {"repository": "a/b", "digest": str(DIGEST)}}
    assert len(read(envelope(layer, pull, mount, deleted, pushed, pushed))) == 1


def test_a_push_to_harbor_names_the_image_by_its_digest() -> None:
    both = read(webhook(digest=str(DIGEST), tag="v1"))
    assert both == [Pushed("hub.example", "lib/web", DIGEST, "v1")]
    assert read(webhook(digest=str(DIGEST))) == [Pushed("hub.example", "lib/web", DIGEST, "")]
    assert read(b'{"type": "PULL_ARTIFACT", "event_data": {}}') == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"events": {}}',
        b'{"events": [{"target": {}}]}',
        b'{"events": [{"action": "push"}]}',
        envelope(event()),
        envelope(event(repository="a/b")),
        envelope(event(repository="../a", tag="v1")),
        envelope(event(repository="a/b", digest="sha256:0")),
        envelope(*[{"action": "pull"}] * (EVENTS_MAX + 1)),
        b'{"type": "PUSH_ARTIFACT"}',
        b'{"type": "PUSH_ARTIFACT", "event_data": {"resources": [{}]}}',
        webhook(),
        webhook(tag="no tag"),
    ],
    ids=range(17),
)
def test_these_are_no_notifications(body: bytes) -> None:
    with pytest.raises(Misuse):
        read(body)


@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        found = read(body)
    except Misuse:
        return
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a/b:v1", ["a/b:v1"]),
        ("web:v1", ["web:v1"]),
        ("localhost/a:v1", ["localhost/a:v1", "a:v1"]),
        ("localhost:5000/a:v1", ["a:v1"]),
        ("registry.example/a/b:v1", ["registry.example/a/b:v1", "a/b:v1"]),
        ("docker.io/nginx:1", ["docker.io/library/nginx:1"]),
        ("hub:80/docker.io/nginx:1", ["docker.io/library/nginx:1"]),
    ],
)
def test_what_an_image_name_may_mean(text: str, meant: list[str]) -> None:
    assert [str(one) for one in readings(text, {"docker.io"})] == meant


@pytest.mark.parametrize(
    "text", ["", ":", "a", "a/b", "localhost:5000/a/b", "A:v1", "a:b:c:", "x/../y:v1"]
)
def test_these_name_no_image(text: str) -> None:
    with pytest.raises(InvalidName):
        readings(text, ())


@given(st.text(max_size=30))
def test_any_text_is_an_image_name_or_refused(text: str) -> None:
    try:
        found = readings(text, {"docker.io"})
    except InvalidName:
        return
    assert found
    assert all(TagName.parse(str(one)) == one for one in found)


def platform(name: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False))


PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm/v7", "linux/arm/v6",
             "unknown/unknown", "windows/amd64"]  # fmt: skip
IMAGES = [manifest(name.encode()) for name in PLATFORMS]
LISTED = index(
    manifests=[
        descriptor(image, MediaType.OCI_MANIFEST, platform=platform(name))
        for image, name in zip(IMAGES, PLATFORMS, strict=True)
    ]
)


def chosen(*wanted: str) -> list[str]:
    found = for_platforms(LISTED, parse(LISTED, None), wanted)
    return [PLATFORMS[[Digest.of(one) for one in IMAGES].index(one.digest)] for one in found]


def test_images_are_chosen_by_platform() -> None:
    assert chosen() == PLATFORMS
    assert chosen("linux/amd64") == ["linux/amd64"]
    assert chosen("linux/arm64") == ["linux/arm64", "linux/arm64/v8"]
    assert chosen("linux/arm/v7", "linux/amd64") == ["linux/amd64", "linux/arm/v7"]
    with pytest.raises(NotFound, match="linux/s390x"):
        chosen("linux/s390x")


def test_what_has_no_platform_is_for_all() -> None:
    for stored in (index(IMAGES[0]), manifest(b"{}", b"layer")):
        found = parse(stored, None)
        assert for_platforms(stored, found, ["linux/s390x"]) == found.references
    bad = index(manifests=[descriptor(IMAGES[0], MediaType.OCI_MANIFEST, platform="linux/amd64")])
    with pytest.raises(InvalidManifest):
        for_platforms(bad, parse(bad, None), ["linux/amd64"])


@given(st.lists(JSON, max_size=3), st.lists(st.sampled_from(PLATFORMS), max_size=2))
def test_any_platforms_of_an_index_are_understood_or_refused(
    found: list[Any], wanted: list[str]
) -> None:
    stored = index(
        manifests=[descriptor(IMAGES[0], MediaType.OCI_MANIFEST, platform=one) for one in found]
    )
    try:
        chosen = for_platforms(stored, parse(stored, None), wanted)
    except Fault:
        return
    assert len(chosen) <= len(found)
