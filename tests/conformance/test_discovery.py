"""Content discovery: tags, referrers, repositories ("Content Discovery")."""

from typing import Any
from urllib.parse import quote

import pytest

from octopull.oci.manifests import MediaType
from support.registry import CONFIG, EMPTY, Answer, Registry, descriptor, digest_of, index, manifest
from support.requirements import IS, MAY, MUST, SHOULD, requirement

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = "Listing Tags"
PUSHED = ("b", "B", "a", "Z", "v1.10", "v1.9", "_", "0", "aa", "A", "latest", "10", "9")
LEXICAL = sorted(PUSHED, key=lambda tag: (tag.lower(), tag))


async def tagged(proxy: Registry, repository: str, *tags: str) -> None:
    await proxy.push_blob(b"{}", repository)
    for tag in tags:
        assert (await proxy.push_manifest(repository, tag, manifest(b"{}"))).status == 201


def following(answer: Answer) -> str:
    """The target of ``Link``, which must be of RFC 5988's form with rel="next"."""
    target, relation = answer.headers["Link"].split(";")
    assert target.startswith("<")
    assert target.endswith(">")
    assert relation.strip() == 'rel="next"'
    return target[1:-1]


@requirement(TAGS, MUST, "If the repository is found, the response MUST be 200 OK")
@requirement(TAGS, MUST, 'The response MUST be JSON: {"name": ..., "tags": [...]}')
@requirement(TAGS, MUST, "The tags MUST be in lexical order, i.e. case-insensitive alphanumeric")
async def test_tags_are_listed_in_order(proxy: Registry, reader: Registry, repository: str) -> None:
    await tagged(proxy, repository, *PUSHED)
    answer = await reader("GET", f"/v2/{repository}/tags/list")
    assert answer.status == 200
    assert answer.json == {"name": repository, "tags": LEXICAL}
    assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
    assert "Link" not in answer.headers


@requirement(TAGS, MAY, "The list MAY be empty if there are no tags on the repository")
async def test_a_repository_without_tags(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await proxy.push_image(repository)
    answer = await reader("GET", f"/v2/{repository}/tags/list")
    assert (answer.status, answer.json) == (200, {"name": repository, "tags": []})


@requirement(TAGS, IS, "n: fewer results come only when there are no more or with a Link header")
@requirement(TAGS, MUST, "Otherwise, the response MUST include n results")
@requirement(TAGS, MAY, "A Link header MAY be included when additional tags are available")
@requirement(TAGS, MUST, 'Link MUST be set according to RFC 5988, with rel="next"')
@requirement(TAGS, MUST, "Without last, the list starts at the beginning, in lexical order")
async def test_pages_tile_the_list(proxy: Registry, reader: Registry, repository: str) -> None:
    await tagged(proxy, repository, *PUSHED)
    for count in (1, 2, 5, len(PUSHED), 100):
        found: list[str] = []
        path = f"/v2/{repository}/tags/list?n={count}"
        while path:
            answer = await reader("GET", path)
            page = answer.json["tags"]
            assert len(page) == min(count, len(PUSHED) - len(found))
            found += page
            path = following(answer) if "Link" in answer.headers else ""
        assert found == LEXICAL


@requirement(TAGS, MUST, "When n is zero, the list MUST be empty, and Link MUST NOT be included")
async def test_a_page_of_none(proxy: Registry, reader: Registry, repository: str) -> None:
    await tagged(proxy, repository, "a", "b")
    answer = await reader("GET", f"/v2/{repository}/tags/list?n=0")
    assert (answer.status, answer.json["tags"]) == (200, [])
    assert "Link" not in answer.headers


@requirement(TAGS, MUST, "last: up to n tags after it, non-inclusively, in lexical order")
@requirement(TAGS, MAY, "With last, n is OPTIONAL")
async def test_tags_after_the_last(proxy: Registry, reader: Registry, repository: str) -> None:
    await tagged(proxy, repository, *PUSHED)
    for number, last in enumerate(LEXICAL, 1):
        path = f"/v2/{repository}/tags/list?last={last}"
        assert (await reader("GET", path)).json["tags"] == LEXICAL[number:]
        assert (await reader("GET", f"{path}&n=2")).json["tags"] == LEXICAL[number : number + 2]


@requirement(TAGS, MUST, "last MUST NOT be a numerical index: it is the value of a tag")
async def test_last_is_no_number_and_need_not_exist(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    await tagged(proxy, repository, "1", "3", "a", "c")
    for last, after in (("1", ["3", "a", "c"]), ("2", ["3", "a", "c"]), ("b", ["c"]), ("z", [])):
        answer = await reader("GET", f"/v2/{repository}/tags/list?last={last}")
        assert answer.json["tags"] == after


@requirement(TAGS, IS, "An n that is no count is refused")
@pytest.mark.parametrize("count", ["-1", "x", "1.5", "", "%F0%9F%98%80", "9" * 40])
async def test_a_bad_count_is_400(
    proxy: Registry, reader: Registry, repository: str, count: str
) -> None:
    await tagged(proxy, repository, "a")
    assert (await reader("GET", f"/v2/{repository}/tags/list?n={count}")).status == 400


REFERRERS = "Listing Referrers"
SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1+json"


async def about(
    proxy: Registry, repository: str, subject: bytes, kind: str = "image", **more: Any
) -> bytes:
    """Push a manifest or index about ``subject``; its bytes."""
    await proxy.push_blob(b"{}", repository)
    more["subject"] = descriptor(subject, MediaType.OCI_MANIFEST)
    document = manifest(b"{}", **more) if kind == "image" else index(**more)
    answer = await proxy.push_manifest(repository, digest_of(document), document)
    assert answer.status == 201, answer
    return document


async def listed(reader: Registry, repository: str, subject: bytes) -> list[dict[str, Any]]:
    path = f"/v2/{repository}/referrers/{digest_of(subject)}"
    found: list[dict[str, Any]] = []
    while path:
        answer = await reader("GET", path)
        assert answer.status == 200, answer
        assert answer.json["schemaVersion"] == 2
        assert answer.json["mediaType"] == MediaType.OCI_INDEX
        assert answer.headers["Content-Type"] == MediaType.OCI_INDEX
        found += answer.json["manifests"]
        path = following(answer) if "Link" in answer.headers else ""
    return found


@requirement(REFERRERS, MUST, "If the repository is found, the response MUST be 200 OK")
@requirement(REFERRERS, MUST, "It MUST be JSON with an image index containing descriptors")
@requirement(REFERRERS, MUST, "Content-Type MUST be application/vnd.oci.image.index.v1+json")
@requirement(REFERRERS, IS, "Each descriptor is of a manifest with that subject")
@pytest.mark.parametrize("order", ["before", "after", "never"])
async def test_referrers_are_listed_whenever_the_subject_comes(
    proxy: Registry, reader: Registry, repository: str, order: str
) -> None:
    subject = manifest(b"{}", annotations={"subject": repository})
    if order == "before":
        await proxy.push_image(repository, "v1", annotations={"subject": repository})
    documents = {
        digest_of(one): one
        for one in (
            await about(proxy, repository, subject, artifactType=SBOM),
            await about(proxy, repository, subject, artifactType=SIGNATURE),
            await about(proxy, repository, subject, "index", artifactType=SBOM),
        )
    }
    await about(proxy, repository, b"something else")
    if order == "after":
        await proxy.push_image(repository, "v1", annotations={"subject": repository})
    found = await listed(reader, repository, subject)
    assert {one["digest"] for one in found} == set(documents)
    for one in found:
        document = documents[one["digest"]]
        assert one["size"] == len(document)
        assert one["mediaType"] in document.decode()
        answer = await reader("GET", f"/v2/{repository}/manifests/{one['digest']}")
        assert (answer.status, answer.body) == (200, document)


@requirement(REFERRERS, MUST, "A registry with the API MUST NOT return 404 to its requests")
@requirement(REFERRERS, MUST, "If there are no referrers, an empty list MUST be returned")
async def test_no_referrers_are_an_empty_list(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    assert await listed(reader, repository, b"unknown") == []
    pushed = await proxy.push_image(repository, "v1")
    assert await listed(reader, repository, pushed) == []
    assert await listed(reader, repository, b"unknown") == []
    path = f"/v2/{repository}/referrers/{digest_of(b'unknown', 'sha512')}"
    assert (await reader("GET", path)).json["manifests"] == []


@pytest.mark.parametrize(
    "digest", ["x", "sha256:12", "sha256:" + "G" * 64, "v1", "md5:" + "0" * 32]
)
@requirement(REFERRERS, MUST, "If the digest is invalid, 400 Bad Request MUST be returned")
async def test_referrers_of_nonsense(reader: Registry, repository: str, digest: str) -> None:
    answer = await reader("GET", f"/v2/{repository}/referrers/{digest}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@requirement(REFERRERS, MUST, "artifactType MUST be that of the image manifest or index")
@requirement(REFERRERS, MUST, "Without it, it MUST be the media type of the image's config")
@requirement(REFERRERS, MUST, "For an index without artifactType, it MUST be omitted")
async def test_the_artifact_type_of_referrers(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    subject, empty = b"the subject", descriptor(b"{}", EMPTY)
    wanted = {
        digest_of(await about(proxy, repository, subject, kind, **fields)): shown
        for kind, fields, shown in (
            ("image", {"artifactType": SBOM, "config": empty}, SBOM),
            ("image", {"config": empty}, EMPTY),
            ("image", {}, CONFIG),
            ("image", {"artifactType": "", "annotations": {"empty": "type"}}, CONFIG),
            ("index", {"artifactType": SBOM}, SBOM),
            ("index", {}, None),
            ("index", {"artifactType": "", "annotations": {"empty": "type"}}, None),
        )
    }
    found = await listed(reader, repository, subject)
    assert {one["digest"]: one.get("artifactType") for one in found} == wanted
    assert all("artifactType" not in one or one["artifactType"] for one in found)


@requirement(REFERRERS, MUST, "The descriptors MUST include the annotations")
@pytest.mark.parametrize("kind", ["image", "index"])
async def test_the_annotations_of_referrers(
    proxy: Registry, reader: Registry, repository: str, kind: str
) -> None:
    subject = b"annotated"
    notes = {"org.opencontainers.image.created": "2022-01-01T14:42:55Z", "ö": '"\\\n', "empty": ""}
    digest = digest_of(await about(proxy, repository, subject, kind, annotations=notes))
    plain = digest_of(await about(proxy, repository, subject, kind))
    found = {one["digest"]: one for one in await listed(reader, repository, subject)}
    assert found[digest]["annotations"] == notes
    assert not found[plain].get("annotations")


@requirement(REFERRERS, IS, "Each descriptor is of the same <name> namespace")
async def test_referrers_of_another_repository_stay_there(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    subject = f"in {repository}".encode()
    await about(proxy, f"{repository}/other", subject)
    assert await listed(reader, repository, subject) == []
    assert len(await listed(reader, f"{repository}/other", subject)) == 1


@requirement(REFERRERS, MUST, "After enabling, all newly pushed manifests with a subject are in")
async def test_a_referrer_pushed_by_tag_twice_is_listed_once(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    subject = b"once"
    document = await about(proxy, repository, subject)
    for tag in ("v1", "v2"):
        assert (await proxy.push_manifest(repository, tag, document)).status == 201
    assert [one["digest"] for one in await listed(reader, repository, subject)] == [
        digest_of(document)
    ]


@requirement(REFERRERS, MUST, "A Link MUST be included when not all fits, each page different")
@requirement(REFERRERS, MUST, 'Link MUST be set according to RFC 5988, with rel="next"')
async def test_referrers_come_in_pages(proxy: Registry, reader: Registry, repository: str) -> None:
    subject = b"many"
    pushed = {
        digest_of(await about(proxy, repository, subject, artifactType=f"a/{number % 2}"))
        for number in (0, 1)
    } | {
        digest_of(await about(proxy, repository, subject, annotations={"n": str(number)}))
        for number in range(5)
    }
    found: list[str] = []
    path = f"/v2/{repository}/referrers/{digest_of(subject)}?n=3"
    while path:
        answer = await reader("GET", path)
        page = [one["digest"] for one in answer.json["manifests"]]
        assert 0 < len(page) <= 3
        found += page
        path = following(answer) if "Link" in answer.headers else ""
    assert sorted(found) == sorted(pushed)


@requirement(REFERRERS, MUST, "A Link MUST be included when not all fits, each page different")
async def test_referrers_with_much_to_say_come_in_pages(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    subject = b"much to say"
    pushed = set()
    for number in range(5):
        notes = {"n": str(number), "filler": "x" * 3_000_000}
        pushed.add(digest_of(await about(proxy, repository, subject, annotations=notes)))
    found = await listed(reader, repository, subject)
    assert {one["digest"] for one in found} == pushed
    assert all(len(one["annotations"]["filler"]) == 3_000_000 for one in found)


@requirement(REFERRERS, SHOULD, "The registry SHOULD support filtering on artifactType")
@requirement(REFERRERS, MUST, "If it was applied, OCI-Filters-Applied: artifactType MUST be sent")
@requirement(REFERRERS, IS, "The filter sees what the descriptors show")
async def test_referrers_are_filtered_by_type(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    subject = b"filtered"
    by_type = {
        SBOM: digest_of(await about(proxy, repository, subject, artifactType=SBOM)),
        SIGNATURE: digest_of(await about(proxy, repository, subject, artifactType=SIGNATURE)),
        CONFIG: digest_of(await about(proxy, repository, subject)),
    }
    path = f"/v2/{repository}/referrers/{digest_of(subject)}"
    for artifact_type, digest in by_type.items():
        for sent in (quote(artifact_type, safe=""), artifact_type.replace("+", "%2B")):
            answer = await reader("GET", f"{path}?artifactType={sent}")
            assert [one["digest"] for one in answer.json["manifests"]] == [digest], sent
            assert answer.headers["OCI-Filters-Applied"] == "artifactType"
            assert answer.headers["Content-Type"] == MediaType.OCI_INDEX
    answer = await reader("GET", f"{path}?artifactType=no/such")
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    answer = await reader("GET", path)
    assert len(answer.json["manifests"]) == 3
    assert "OCI-Filters-Applied" not in answer.headers


@requirement(REFERRERS, MUST, "Pages of a filtered list keep the filter")
async def test_pages_of_a_filtered_list(proxy: Registry, reader: Registry, repository: str) -> None:
    subject = b"filtered pages"
    pushed = set()
    for number in range(5):
        notes = {"n": str(number)}
        await about(proxy, repository, subject, annotations=notes)
        pushed.add(
            digest_of(
                await about(proxy, repository, subject, artifactType="a/b+c", annotations=notes)
            )
        )
    found: list[str] = []
    path = f"/v2/{repository}/referrers/{digest_of(subject)}?artifactType=a%2Fb%2Bc&n=2"
    while path:
        answer = await reader("GET", path)
        found += [one["digest"] for one in answer.json["manifests"]]
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        path = following(answer) if "Link" in answer.headers else ""
    assert sorted(found) == sorted(pushed)


CATALOG = "Catalog"


@requirement(CATALOG, MAY, "docker's registry API: GET /v2/_catalog lists the repositories")
async def test_the_catalog_comes_in_pages(
    proxy: Registry, reader: Registry, repository: str
) -> None:
    mine = [f"{repository}/{name}" for name in ("a", "b", "c/d", "e")]
    for name in mine:
        await proxy.push_image(name, "v1")
    answer = await reader("GET", "/v2/_catalog")
    assert answer.status == 200
    assert set(mine) <= set(answer.json["repositories"])
    found: list[str] = []
    path = f"/v2/_catalog?n=2&last={quote(repository, safe='')}"
    while path and len(found) < 5:
        answer = await reader("GET", path)
        found += answer.json["repositories"]
        path = following(answer) if "Link" in answer.headers else ""
    assert found[:4] == mine
    answer = await reader("GET", "/v2/_catalog?n=0")
    assert (answer.status, answer.json, "Link" in answer.headers) == (
        200, {"repositories": []}, False,
    )  # fmt: skip
    assert (await reader("GET", "/v2/_catalog?n=-1")).status == 400
