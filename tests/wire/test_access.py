"""Who may do what, on proxy and agent: logins with each request, and repositories kept apart."""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.access import AccessSettings
from octopull.config.services import Listen, ProxyConfig
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci.manifests import MediaType
from octopull.security import passwords
from octopull.security.passwords import WAITING_PER_ADDRESS_MAX
from octopull.services.proxy.app import run as run_proxy
from octopull.transport import bandwidth_api
from support import access, registry
from support.access import SECRET, TOKEN, People, basic, push, shown
from support.ports import free_ports
from support.registry import CONFIG, LAYER, Registry, descriptor, digest_of, index, manifest
from support.services import started
from support.waiting import until

OWN = b"a layer of somebody else"
UPLOAD = "/v2/{}/blobs/uploads/?digest={}"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    settings = AccessSettings(**access.files(tmp_path / "access"))
    async with running(tmp_path / "data", 1, Ports(0, "127.0.0.1"), access=settings) as found:
        yield found


def paths(content: bytes) -> list[str]:
    """All of it, in the repository of ``{}``."""
    found = ["/v2/{}/manifests/v1", f"/v2/{{}}/manifests/{digest_of(content)}"]
    return [*found, f"/v2/{{}}/blobs/{digest_of(SECRET)}"]


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_a_private_image_is_for_those_alone_who_may_pull_it(
    people: People, pushed: bytes, at: str
) -> None:
    for path in paths(pushed):
        for who, status in (("alice", 200), ("bob", 200), ("carol", 403), (None, 401)):
            answer = await people(who, at)("GET", path.format("team/app"))
            assert answer.status == status, (who, path)
            assert (await people(who, at)("HEAD", path.format("team/app"))).status == status
    denied = await people("carol", at)("GET", "/v2/team/app/tags/list")
    assert (denied.code, denied.json["errors"][0]["message"]) == (
        "DENIED", "carol may not pull from team/app: no rule allows it",
    )  # fmt: skip


async def test_who_is_not_logged_in_is_asked_to_and_wrong_passwords_are_told(
    people: People, pushed: bytes
) -> None:
    for at in ("proxy", "agent"):
        for path in ("/v2/team/app/manifests/v1", "/v2/team/app/tags/list"):
            answer = await people(None, at)("GET", path)
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="octopull"'
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        empty = await people.showing("Basic Og==", at)("GET", "/v2/team/app/manifests/v1")
        assert (empty.status, empty.code) == (401, "UNAUTHORIZED"), "as skopeo sends it"
        for header in (basic("alice", "wrong"), basic("mallory", "x"), "Bearer x", "Basic x"):
            answer = await people.showing(header, at)("GET", "/v2/team/app/manifests/v1")
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), header


async def test_a_pull_only_user_can_not_push_or_delete_and_is_told_why(
    people: People, pushed: bytes
) -> None:
    bob = people("bob")
    digest = digest_of(b"new")
    for method, path in (
        ("POST", "/v2/team/app/blobs/uploads/"), ("POST", UPLOAD.format("team/app", digest)),
        ("PUT", "/v2/team/app/manifests/v2"), ("PATCH", "/v2/team/app/blobs/uploads/x"),
    ):  # fmt: skip
        answer = await bob(method, path, b"new")
        assert (answer.status, answer.code) == (403, "DENIED"), path
        assert "bob may not push to team/app" in answer.json["errors"][0]["message"]
    for path in paths(pushed):
        answer = await bob("DELETE", path.format("team/app"))
        assert answer.status == 403
        assert "bob may not delete from team/app" in answer.json["errors"][0]["message"]
    assert (await people("alice")("DELETE", "/v2/team/app/manifests/v1")).status == 202


async def test_a_public_image_is_pulled_without_a_login_and_a_wrong_one_is_refused(
    people: People,
) -> None:
    await push(people("alice"), "public/base", OWN)
    for at in ("proxy", "agent"):
        for path in ("/v2/public/base/manifests/v1",
                     f"/v2/public/base/blobs/{digest_of(OWN)}", "/tags/public/base:v1"):  # fmt: skip
            if at == "agent" or path.startswith("/v2"):
                assert (await people(None, at)("GET", path)).status == 200, path
        assert (await people.showing(basic("alice", "wrong"), at)("GET", "/v2/")).status == 401
        assert (await people(None, at)("GET", "/v2/")).status == 401
    assert (await people(None)("POST", "/v2/public/base/blobs/uploads/")).status == 401


async def test_a_token_that_lives_long_is_shown_as_such_or_as_a_password(
    people: People, pushed: bytes
) -> None:
    for header in (f"Bearer {TOKEN}", basic("whoever", TOKEN)):
        for at in ("proxy", "agent"):
            ci = people.showing(header, at)
            assert (await ci("GET", "/v2/team/app/manifests/v1")).status == 200
        await push(people.showing(header), "team/ci", OWN)


# Digests are no keys.


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_whoever_knows_a_digest_gets_nothing_by_it_from_another_repository(
    people: People, pushed: bytes, at: str
) -> None:
    await push(people("carol"), "other/app", OWN)
    carol = people("carol", at)
    for digest in (digest_of(SECRET), digest_of(pushed)):
        for method in ("GET", "HEAD"):
            answer = await carol(method, f"/v2/other/app/blobs/{digest}")
            assert answer.status == 404, (method, digest)
    assert (await carol("GET", f"/v2/other/app/manifests/{digest_of(pushed)}")).status == 404
    assert (await carol("GET", f"/v2/other/app/blobs/{digest_of(OWN)}")).status == 200
    if at == "agent":
        for namespace, status in (("other/app", 404), ("team/app", 403)):
            path = f"/namespace/{namespace}/blobs/{digest_of(SECRET)}"
            assert (await carol("GET", path)).status == status
        assert (await people("bob", at)("GET", f"/namespace/team/app/blobs/{digest_of(SECRET)}")
                ).status == 200  # fmt: skip
        assert (await people("root", at)("GET", f"/namespace/x/blobs/{digest_of(SECRET)}")
                ).status == 200  # fmt: skip


async def test_a_manifest_makes_nobody_own_what_it_names(people: People, pushed: bytes) -> None:
    carol = people("carol")
    secret, theirs = digest_of(SECRET), digest_of(pushed)
    await push(carol, "other/app", OWN)
    await carol.push_blob(pushed, "other/app")
    named = manifest(b"{}", SECRET)
    listed = index(pushed)
    disguised = json.dumps(
        {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX,
         "manifests": [descriptor(pushed, "application/x")]}
    ).encode()  # fmt: skip
    for content in (named, listed, disguised):
        answer = await carol.push_manifest("other/app", "evil", content)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN"), content
    # What is pushed as a layer, or may live elsewhere, gives nothing but itself.
    layered = manifest(b"{}", pushed)
    away: dict[str, Any] = {"urls": ["https://example.com/layer"]}
    foreign = json.dumps(
        {"schemaVersion": 2, "mediaType": MediaType.OCI_MANIFEST, "config": descriptor(b"{}", CONFIG),
         "layers": [descriptor(SECRET, LAYER, **away)]}
    ).encode()  # fmt: skip
    elsewhere = json.dumps(
        {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX,
         "manifests": [descriptor(pushed, MediaType.OCI_MANIFEST, **away)]}
    ).encode()  # fmt: skip
    for number, content in enumerate((layered, foreign, elsewhere)):
        answer = await carol.push_manifest("other/app", f"odd{number}", content)
        assert answer.status == 201, answer
        for at in ("proxy", "agent"):
            asking = people("carol", at)
            assert (await asking("GET", f"/v2/other/app/manifests/odd{number}")).status == 200
            assert (await asking("GET", f"/v2/other/app/manifests/{theirs}")).status == 404
            assert (await asking("GET", f"/v2/other/app/blobs/{secret}")).status == 404, at


async def test_a_mount_needs_the_right_to_pull_from_where_it_comes(
    people: People, pushed: bytes
) -> None:
    digest = digest_of(SECRET)
    mount = f"/v2/{{}}/blobs/uploads/?mount={digest}"
    for path in (mount, f"{mount}&from=team/app", f"{mount}&from=other/app"):
        answer = await people("carol")("POST", path.format("other/copy"))
        assert answer.status == 202, path
    assert (await people("alice")("POST", f"{mount}&from=team/app".format("public/copy"))
            ).status == 201  # fmt: skip
    assert (await people("alice")("GET", f"/v2/public/copy/blobs/{digest}")).status == 200
    assert (await people("carol")("GET", f"/v2/other/copy/blobs/{digest}")).status == 404


async def test_what_a_repository_no_longer_refers_to_is_no_longer_served(
    people: People, pushed: bytes
) -> None:
    alice = people("alice")
    blob = f"/v2/team/app/blobs/{digest_of(SECRET)}"
    assert (await alice("GET", blob)).status == 200
    assert (await alice("DELETE", f"/v2/team/app/manifests/{digest_of(pushed)}")).status == 202
    assert (await people("alice", "agent")("GET", blob)).status == 404
    # Pushed again it is there again, without its bytes being sent a second time.
    await push(alice, "team/app", SECRET)
    assert (await people("alice", "agent")("GET", blob)).status == 200


async def test_an_index_is_pushed_and_pulled_by_those_who_may(people: People) -> None:
    alice, layers = people("alice"), (b"of one platform", b"of another")
    images = []
    for layer in layers:
        for blob in (b"{}", layer):
            await alice.push_blob(blob, "team/multi")
        content = manifest(b"{}", layer)
        answer = await alice.push_manifest("team/multi", digest_of(content), content)
        assert answer.status == 201
        images.append(content)
    both = index(*images)
    assert (await alice.push_manifest("team/multi", "v1", both)).status == 201
    for at in ("proxy", "agent"):
        bob = people("bob", at)
        for content in images:
            path = f"/v2/team/multi/manifests/{digest_of(content)}"
            assert (await bob("GET", path)).body == content
        for layer in layers:
            assert (await bob("GET", f"/v2/team/multi/blobs/{digest_of(layer)}")).body == layer


# What is of the service itself.

ADMIN = {
    "proxy": [("GET", "/metrics"), ("POST", "/registry/notifications"),
              ("POST", "/proxy/v1/registry/prefetch"), ("POST", "/proxy/v2/registry/prefetch")],
    "agent": [("GET", "/metrics"), ("GET", "/status"), ("DELETE", f"/blobs/{Digest.of(b'x')}"),
              ("GET", "/preload/tags/team/app:v1"), ("GET", bandwidth_api.PATH), ("PATCH", bandwidth_api.PATH)],
}  # fmt: skip


@pytest.mark.parametrize("at", ADMIN)
async def test_what_is_of_the_service_is_for_administrators_alone(people: People, at: str) -> None:
    for method, path in ADMIN[at]:
        for who, status in ((None, 401), ("alice", 403)):
            assert (await people(who, at)(method, path)).status == status, path
        assert (await people("root", at)(method, path)).status not in {401, 403}, path
    for path in ("/health", "/readiness"):
        assert (await people(None, at)("GET", path)).status == 200


@pytest.mark.parametrize("settings", [None, "access"])
async def test_on_a_port_of_its_own_it_is_open_and_nowhere_else(
    cluster: Cluster, session: aiohttp.ClientSession, tmp_path: Path, settings: str | None
) -> None:
    config = ProxyConfig(
        origins=[cluster.origin.address], tag_indexes=[cluster.tag_index.address], replicas=1,
        access=AccessSettings(**access.files(tmp_path / settings)) if settings else None,
        admin=Listen(),
    )  # fmt: skip
    async with started(run_proxy, config) as proxy:
        at = Registry(session, proxy.address)
        inside = Registry(session, f"127.0.0.1:{proxy.admin_port}")
        for method, path in ADMIN["proxy"]:
            assert (await at(method, path, **shown("root"))).status == 404, path
            assert (await inside(method, path)).status not in {401, 403, 404}, path
        for one in (at, inside):
            assert (await one("GET", "/health")).status == 200
            answer = await one("GET", "/v2/team/app/tags/list")
            assert answer.status == (401 if settings else 404)


async def test_the_catalog_is_for_those_who_may_pull_everything(
    people: People, pushed: bytes
) -> None:
    for at in ("proxy", "agent"):
        for who, status in ((None, 401), ("alice", 403), ("root", 200)):
            assert (await people(who, at)("GET", "/v2/_catalog")).status == status


async def test_a_time_of_another_cluster_is_taken_from_those_who_may_replicate(
    people: People, pushed: bytes
) -> None:
    for who, status in (("alice", 403), ("root", 201)):
        path = f"/v2/team/app/manifests/{who}"
        answer = await people(who)("PUT", path, pushed, Octopull_Moved_At="1700000000.5")
        assert answer.status == status, answer
    assert (await people("alice")("PUT", "/v2/team/app/manifests/v2", pushed)).status == 201


async def test_a_rule_that_is_written_counts_soon_and_a_broken_file_changes_nothing(
    people: People, pushed: bytes, tmp_path: Path
) -> None:
    rules = tmp_path / "access" / "policy.yaml"
    carol = {"who": ["user:carol"], "repositories": ["team/app"], "actions": ["pull"]}

    async def may() -> bool:
        answer = await people("carol", "agent")("GET", "/v2/team/app/manifests/v1")
        return bool(answer.status == 200)

    assert not await may()
    access.write_rules(rules, [*access.RULES, carol])
    await until(may, 10)
    rules.write_text("rules: [{who: [nobody]}]")

    async def refused() -> bool:
        answer = await people("root", "agent")("GET", "/metrics")
        return b'octopull_access_files_refused{file="policy"} 1.0' in answer.body

    await until(refused, 10)
    assert await may()
    assert registry.digest_of(pushed) == str(Digest.of(pushed))


async def test_a_digest_in_place_of_bytes_is_no_push(people: People, pushed: bytes) -> None:
    carol, path = people("carol"), "/v2/other/app/blobs/uploads/"
    begun = (await carol("POST", path)).headers["Location"]
    ended = (await carol("POST", path)).headers["Location"]
    assert (await carol("PUT", f"{ended}?digest={digest_of(OWN)}", OWN)).status == 201
    assert (await carol("PUT", f"{ended}?digest={digest_of(OWN)}")).status == 201
    holder = begun.rpartition("/")[2].partition(".")[0]
    for session in (f"{path}{holder}.{'de' * 16}", ended):
        for content in (SECRET, pushed):
            told = await carol("PUT", f"{session}?digest={digest_of(content)}")
            assert told.status == 404
    for at in ("proxy", "agent"):
        for content in (SECRET, pushed):
            answer = await people("carol", at)("GET", f"/v2/other/app/blobs/{digest_of(content)}")
            assert answer.status == 404


async def test_an_admin_port_of_the_same_number_is_refused(cluster: Cluster) -> None:
    (port,) = free_ports(1)
    config = ProxyConfig(
        origins=[cluster.origin.address], tag_indexes=[cluster.tag_index.address], replicas=1,
        listen=Listen(host="127.0.0.2", port=port), admin=Listen(port=port),
    )  # fmt: skip
    with pytest.raises(Misuse, match="a port of its own"):
        await run_proxy(config, lambda _: None, asyncio.Event())


async def test_guesses_from_one_address_lock_out_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(passwords, "is_of", lambda *_: not ended.wait(30))
    there = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession() as here, aiohttp.ClientSession(connector=there) as other:

        async def ask(session: aiohttp.ClientSession, word: str) -> int:
            headers = {"Authorization": basic("alice", word)}
            async with session.get(f"{cluster.proxy.url}/v2/", headers=headers) as answer:
                return answer.status

        guesses = [
            asyncio.ensure_future(ask(session, f"{number} of {address}"))
            for address, session in enumerate((here, other))
            for number in range(9)
        ]
        refused = 2 * (9 - WAITING_PER_ADDRESS_MAX)
        for answer in itertools.islice(asyncio.as_completed(guesses), refused):
            assert await answer == 429
        ended.set()
        told = await asyncio.gather(*guesses)
        assert [told[:9].count(429), told[9:].count(429)] == [refused // 2] * 2
        assert set(told) == {401, 429}
