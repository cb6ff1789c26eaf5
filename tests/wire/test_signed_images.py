"""Only what is signed is pulled from where that is demanded, on proxy and agent, and why not is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import REGISTRY

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.config.policy import SignatureSettings
from octopull.config.services import OriginConfig, ProxyConfig, TagIndexConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, Unavailable
from octopull.oci.manifests import parse
from octopull.oci.signatures import PAYLOAD_BYTES_MAX
from octopull.registry.access.signed import Signed
from octopull.security import signatures
from octopull.services.origin.app import run as run_origin
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from support import access, signing
from support.access import People, push
from support.ports import free_ports
from support.registry import Answer, digest_of, index, manifest
from support.services import started
from support.signing import Signer
from support.waiting import until

SOON_S = 10.0
REPOSITORY, OPEN = "team/prod/app", "team/dev/app"
OURS, THEIRS = Signer(), Signer()
LAYERS = (b"a layer", b"another layer")
DEMANDS = signatures.parse(
    [SignatureSettings(repositories=["**"], keys=["ours.pub"])], lambda _: OURS.public, []
)
SIDES = pytest.mark.parametrize("at", ["proxy", "agent"])


def demand(folder: Path, *keys: str) -> None:
    """Have the rules demand a signature by one of ``keys``."""
    lines = [{"repositories": ["team/prod/**"], "keys": list(keys)}] if keys else []
    (folder / "policy.yaml").write_text(
        yaml.safe_dump({"rules": access.RULES, "signatures": lines})
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files of access are."""
    found = tmp_path / "access"
    (found / "keys").mkdir(parents=True)
    (found / "keys" / "ours.pub").write_bytes(OURS.public)
    (found / "theirs.pub").write_bytes(THEIRS.public)
    return found


@pytest.fixture
def settings(folder: Path) -> dict[str, Any]:
    found = access.files(folder)
    demand(folder, "keys/ours.pub")
    return found


@pytest.fixture
async def cluster(tmp_path: Path, settings: dict[str, Any]) -> AsyncIterator[Cluster]:
    own = AccessSettings(**settings)
    async with running(tmp_path / "data", 1, Ports(0, "127.0.0.1"), access=own) as found:
        yield found


@pytest.fixture
async def people(cluster: Cluster) -> AsyncIterator[People]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield People(session, cluster)


def paths(image: bytes, repository: str = REPOSITORY, *, tag: str = "v1") -> list[str]:
    """All of an image, as it is asked for."""
    blobs = [f"/v2/{repository}/blobs/{digest_of(blob)}" for blob in (b"{}", *LAYERS)]
    manifests = [f"/v2/{repository}/manifests/{one}" for one in (tag, digest_of(image))]
    return [*manifests, f"/v2/{repository}/blobs/{digest_of(image)}", *blobs]


async def refusal(people: People, at: str, path: str, who: str = "bob") -> str:
    answer = await people(who, at)("GET", path)
    assert (answer.status, answer.code) == (403, "DENIED"), (path, answer)
    return str(answer.json["errors"][0]["message"])


async def pulled(people: People, at: str, path: str) -> Answer:
    """What is served, if not now then soon: refusals count for a moment."""

    async def served() -> bool:
        return (await people("bob", at)("GET", path)).status == 200

    await until(served, SOON_S)
    return await people("bob", at)("GET", path)


@SIDES
async def test_an_image_is_refused_until_it_is_signed_and_then_all_of_it_is_served(
    people: People, at: str
) -> None:
    for form in signing.FORMS:
        repository = f"{REPOSITORY}-{form}"
        image = await push(people("alice"), repository, *LAYERS)
        what, demanded = f"{repository}@{digest_of(image)}", "any key that team/prod/** demands"
        for path in paths(image, repository)[:2]:
            assert await refusal(people, at, path) == f"{what} is not signed by {demanded}"
        for path in paths(image, repository)[2:]:
            assert "is of no image that is signed by a key" in await refusal(people, at, path)
        for path in paths(image, repository):
            # Pushes ask by HEAD what blobs are there; who is told of a manifest may have it already.
            told = await people("bob", at)("HEAD", path)
            assert told.status == (403 if "/manifests/" in path else 200), path
        await OURS.sign(image, form).push(people("alice"), repository)
        # A layer first: another proxy or agent may have served the manifest.
        for path in reversed(paths(image, repository)):
            assert (await pulled(people, at, path)).body in {image, b"{}", *LAYERS}


@SIDES
async def test_what_real_cosign_signed_is_pulled(people: People, folder: Path, at: str) -> None:
    alice, keys = people("alice"), sorted({str(case["key"]) for case in signing.golden()})
    for number, key in enumerate(keys):
        (folder / f"{number}.pub").write_text(key)
    demand(folder, *(f"{number}.pub" for number in range(len(keys))))
    for number, case in enumerate(signing.golden()):
        repository = f"team/prod/{number}"
        for blob in case["image_blobs"]:
            await alice.push_blob(blob.encode(), repository)
        image = case["image"].encode()
        assert (await alice.push_manifest(repository, "v1", image)).status == 201
        await signing.of_golden(case).push(alice, repository)
        assert (await pulled(people, at, f"/v2/{repository}/manifests/v1")).body == image


@SIDES
async def test_why_a_signature_does_not_count_is_told(people: People, at: str) -> None:
    alice = people("alice")
    image = await push(alice, REPOSITORY, *LAYERS)
    digest, other = digest_of(image), digest_of(manifest(b"{}", b"not this one"))
    said, changed = signing.payload(digest), signing.payload(digest, identity={})
    refused = f"{REPOSITORY}@{digest} is not signed by any key that team/prod/** demands"
    counted = _decisions(at, "refused")
    for signature, why in (
        (THEIRS.sign(image), ": its signature does not verify"),
        (signing.simple(digest, (changed, OURS.prove(said))), ": its signature does not verify"),
        (signing.simple(digest, (signing.payload(other), OURS.prove(signing.payload(other)))),
         ": its signature is of another image"),
        (signing.simple(digest, (b"{}", OURS.prove(b"{}"))), ": its signature can't be read"),
    ):  # fmt: skip
        await signature.push(alice, REPOSITORY)
        path = paths(image)[0]

        async def told(path: str = path, why: str = why) -> bool:
            return await refusal(people, at, path) == refused + why

        await until(told, SOON_S)
    assert _decisions(at, "refused") >= counted + 4


@SIDES
async def test_an_index_that_is_signed_brings_its_images_and_no_others(
    people: People, at: str
) -> None:
    alice = people("alice")
    images = [await push(alice, REPOSITORY, layer) for layer in LAYERS]
    stranger = await push(alice, REPOSITORY, b"{}", *LAYERS, b"more")
    listing, wrapping = index(*images), manifest(b"{}", stranger)
    for content, tag in ((listing, "all"), (wrapping, "wrapping")):
        await alice.push_blob(stranger, REPOSITORY)
        assert (await alice.push_manifest(REPOSITORY, tag, content)).status == 201
        await OURS.sign(content).push(alice, REPOSITORY)
    for image, layer in zip(images, LAYERS, strict=True):
        for kind, content in (("blobs", layer), ("manifests", image)):
            path = f"/v2/{REPOSITORY}/{kind}/{digest_of(content)}"
            assert (await people("bob", at)("GET", path)).body == content
    # A signed manifest vouches for its layers' bytes, not for what they would be as manifests.
    await refusal(people, at, f"/v2/{REPOSITORY}/manifests/{digest_of(stranger)}")
    assert (await people("bob", at)("GET", f"/v2/{REPOSITORY}/manifests/wrapping")).status == 200
    await refusal(people, at, f"/v2/{REPOSITORY}/manifests/{digest_of(stranger)}")
    await refusal(people, at, f"/v2/{REPOSITORY}/blobs/{digest_of(b'more')}")


@SIDES
async def test_signatures_themselves_are_served_even_if_they_do_not_count(
    people: People, at: str
) -> None:
    alice, bob = people("alice"), people("bob", at)
    image = await push(alice, REPOSITORY, *LAYERS)
    for form in signing.FORMS:
        # By a key that nobody demands: whoever wants to know why has to see it.
        signature = THEIRS.sign(image, form)
        await signature.push(alice, REPOSITORY)
        for blob in reversed(signature.blobs):
            assert (await bob("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(blob)}")).body == blob
        digest = digest_of(signature.manifest)
        for reference in {signature.tag or digest, digest}:
            found = await bob("GET", f"/v2/{REPOSITORY}/manifests/{reference}")
            assert found.body == signature.manifest
    listed = await bob("GET", f"/v2/{REPOSITORY}/referrers/{digest_of(image)}")
    assert len(listed.json["manifests"]) == 2
    await refusal(people, at, paths(image)[0])


@SIDES
async def test_an_image_under_the_tag_of_a_signature_is_refused(people: People, at: str) -> None:
    alice, tag = people("alice"), signing.tag_for(digest_of(b"anything"))
    image = await push(alice, REPOSITORY, *LAYERS)
    assert (await alice.push_manifest(REPOSITORY, tag, image)).status == 201
    for path in paths(image, tag=tag):
        await refusal(people, at, path)
    # One that calls its layers signatures is told from them by its bytes.
    layers = b"a file system", b'{"much": "%s"}' % (b"x" * PAYLOAD_BYTES_MAX)
    for layer in layers:
        await alice.push_blob(layer, REPOSITORY)
        content = signing.disguised(layer)
        assert (await alice.push_manifest(REPOSITORY, tag, content)).status == 201
        await people("bob", at)("GET", f"/v2/{REPOSITORY}/manifests/{tag}")
        await refusal(people, at, f"/v2/{REPOSITORY}/blobs/{digest_of(layer)}")


async def test_who_may_push_reads_what_has_to_be_signed_by_its_digest_and_no_more(
    people: People,
) -> None:
    image = await push(people("alice"), REPOSITORY, *LAYERS)
    by_tag, by_digest, *blobs = paths(image)
    assert (await people("alice")("GET", by_digest)).body == image
    for path in paths(image):
        assert (await people("alice")("HEAD", path)).status == 200, path
    for path in (by_tag, *blobs):
        await refusal(people, "proxy", path, "alice")
    await refusal(people, "agent", by_digest, "alice")
    # A mount would bring it where nothing is demanded.
    mount = f"/v2/{OPEN}/blobs/uploads/?mount={digest_of(LAYERS[0])}&from={REPOSITORY}"
    assert (await people("alice")("POST", mount)).status == 202
    await OURS.sign(image).push(people("alice"), REPOSITORY)
    await pulled(people, "proxy", by_tag)
    assert (await people("alice")("POST", mount)).status == 201


@SIDES
async def test_nothing_is_demanded_elsewhere_and_a_signature_counts_in_its_repository_alone(
    people: People, at: str
) -> None:
    alice = people("alice")
    for repository in (OPEN, REPOSITORY):
        image = await push(alice, repository, *LAYERS)
    await OURS.sign(image).push(alice, OPEN)
    for path in paths(image, OPEN):
        assert (await people("bob", at)("GET", path)).status == 200
    for path in paths(image):
        await refusal(people, at, path)
    if at == "agent":
        await refusal(people, at, f"/namespace/{REPOSITORY}/blobs/{digest_of(LAYERS[0])}")
        path = f"/namespace/{OPEN}/blobs/{digest_of(LAYERS[0])}"
        assert (await people("bob", at)("GET", path)).body == LAYERS[0]


@SIDES
async def test_what_is_demanded_changes_with_the_files_and_a_wrong_one_changes_nothing(
    people: People, folder: Path, at: str
) -> None:
    alice = people("alice")
    image = await push(alice, REPOSITORY, *LAYERS)
    await OURS.sign(image).push(alice, REPOSITORY)
    path = paths(image)[0]
    await pulled(people, at, path)

    async def refused() -> bool:
        return (await people("bob", at)("GET", path)).status == 403

    demand(folder, "theirs.pub")
    await until(refused, SOON_S)
    demand(folder, "theirs.pub", "none.pub")
    await until(_wrong, SOON_S)
    assert await refused()
    (folder / "none.pub").write_bytes(OURS.public)
    await pulled(people, at, path)
    (folder / "none.pub").write_bytes(THEIRS.public)
    await until(refused, SOON_S)
    demand(folder)
    await pulled(people, at, path)


def _decisions(service: str, outcome: str) -> float:
    labels = {"service": service, "outcome": outcome}
    return REGISTRY.get_sample_value("octopull_signature_decisions_total", labels) or 0


async def _wrong() -> bool:
    return REGISTRY.get_sample_value("octopull_access_files_refused", {"file": "policy"}) == 1


async def test_a_key_that_is_none_is_refused_at_the_start(
    folder: Path, settings: dict[str, Any]
) -> None:
    (folder / "keys" / "ours.pub").write_text("no key")
    nowhere = [f"127.0.0.1:{port}" for port in free_ports(1)]
    config = ProxyConfig(
        origins=nowhere, tag_indexes=nowhere, replicas=1, access=AccessSettings(**settings)
    )
    with pytest.raises(Misuse, match=r"signatures 1: keys/ours\.pub: no public key in PEM"):
        await run_proxy(config, lambda _: None, asyncio.Event())


async def test_while_no_tag_index_answers_what_was_seen_counts_and_nothing_else(
    http: Http, tmp_path: Path
) -> None:
    images = [manifest(b"{}", layer) for layer in LAYERS]
    async with started(run_origin, OriginConfig(data=str(tmp_path / "origin"))) as origin:
        config = TagIndexConfig(data=str(tmp_path / "tags"), origins=[origin.address])
        origins = OriginCluster(http, [origin.address], 1)
        async with started(run_tag_index, config) as tag_index:
            tags = TagIndex(http, [tag_index.address])
            signed = Signed(lambda: DEMANDS, tags, origins.read, 0.0, "proxy")
            for image in images:
                signature = OURS.sign(image)
                for blob in (b"{}", *LAYERS, image, *signature.blobs, signature.manifest):
                    await origins.uploads.push(REPOSITORY, Digest.of(blob), blob)
                await tags.record(REPOSITORY, Digest.of(image), ["v1"])
                await tags.record(REPOSITORY, Digest.of(signature.manifest), [signature.tag])
            seen, unseen = [(Digest.of(image), image, parse(image, None)) for image in images]
            await signed.check_manifest(REPOSITORY, *seen)
        await signed.check_manifest(REPOSITORY, *seen)
        await signed.check_blob(REPOSITORY, Digest.of(LAYERS[0]))
        with pytest.raises(Unavailable):
            await signed.check_manifest(REPOSITORY, *unseen)
        with pytest.raises(Unavailable):
            await signed.check_blob(REPOSITORY, Digest.of(LAYERS[1]))


class TestByTokens:
    """Where a token service says what callers may."""

    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        service = TokenServiceSettings(key="generate")
        return {**settings, "token_service": service}

    async def test_a_token_to_pull_lets_one_who_may_push_read_what_is_to_be_signed(
        self, people: People
    ) -> None:
        service = "service=octopull"

        async def bearer(who: str, scope: str) -> str:
            answer = await people(who)("GET", f"/token?{service}&scope=repository:{scope}")
            return f"Bearer {answer.json['token']}"

        pushing = people.showing(await bearer("alice", f"{REPOSITORY}:pull,push"))
        image = await push(pushing, REPOSITORY, *LAYERS)
        for who, status in (("alice", 200), ("bob", 403)):
            asking = people.showing(await bearer(who, f"{REPOSITORY}:pull"))
            by_tag, by_digest, *blobs = paths(image)
            assert (await asking("GET", by_digest)).status == status
            assert (await asking("HEAD", by_tag)).status == status
            for path in (by_tag, *blobs):
                assert (await asking("GET", path)).status == 403
            assert (await asking("POST", f"/v2/{REPOSITORY}/blobs/uploads/")).status == 401
        await OURS.sign(image).push(pushing, REPOSITORY)
        asking = people.showing(await bearer("bob", f"{REPOSITORY}:pull"))

        async def served() -> bool:
            return (await asking("GET", by_tag)).status == 200

        await until(served, SOON_S)
