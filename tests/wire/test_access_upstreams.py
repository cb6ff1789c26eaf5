"""Upstreams' repositories where access is set: what the upstream has there, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from octopull.cli.cluster import Ports, running
from octopull.config.access import AccessSettings
from octopull.config.upstreams import UpstreamSettings
from support import access
from support.access import People, push
from support.registry import Registry, digest_of, manifest
from support.signing import Signer
from support.upstream import Front, front
from support.waiting import until

LAYER, SECRET = b"a layer of the upstream", b"a layer that only the team may see"
IMAGE = manifest(b"{}", LAYER)
RULES = [*access.RULES, {"who": ["known"], "repositories": ["docker.io/**"], "actions": ["pull"]}]

DENIED = {"who": ["user:carol"], "repositories": ["docker.io/library/app"], "actions": ["pull"],
          "effect": "deny"}  # fmt: skip


@pytest.fixture
async def upstream(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[Front]:
    async with running(tmp_path / "upstream", 0, Ports(0, "127.0.0.1")) as home:
        await push(Registry(session, home.proxy.address), "library/app", LAYER)
        async with front(home.proxy.address) as one:
            yield one


@pytest.fixture
async def people(
    tmp_path: Path, session: aiohttp.ClientSession, upstream: Front
) -> AsyncIterator[People]:
    files = access.files(tmp_path / "access")
    access.write_rules(tmp_path / "access" / "policy.yaml", RULES)
    hub = UpstreamSettings(name="docker.io", url=upstream.url, timeout_s=5)
    async with running(
        tmp_path / "data", 1, Ports(0, "127.0.0.1"), [hub], access=AccessSettings(**files)
    ) as cluster:
        yield People(session, cluster)


@pytest.mark.parametrize("at", ["proxy", "agent"])
@pytest.mark.parametrize("reference", ["v1", digest_of(IMAGE)])
async def test_an_upstreams_image_is_pulled_by_those_who_may(
    people: People, at: str, reference: str
) -> None:
    for path in (f"manifests/{reference}", f"blobs/{digest_of(LAYER)}"):
        assert (await people(None, at)("GET", f"/v2/library/app/{path}?ns=docker.io")).status == 401
        answer = await people("carol", at)("GET", f"/v2/library/app/{path}?ns=docker.io")
        assert answer.status == 200, path


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_what_the_upstream_does_not_have_is_not_had_by_asking_for_it_there(
    people: People, upstream: Front, at: str
) -> None:
    pushed = await push(people("alice"), "team/app", SECRET)
    for path in (f"blobs/{digest_of(SECRET)}", f"blobs/{digest_of(pushed)}",
                 f"manifests/{digest_of(pushed)}"):  # fmt: skip
        answer = await people("carol", at)("GET", f"/v2/library/app/{path}?ns=docker.io")
        assert answer.status == 404, path
    upstream.down = True
    answer = await people("carol", at)(
        "GET", f"/v2/library/app/blobs/{digest_of(SECRET)}?ns=docker.io"
    )
    assert answer.status == 503


async def test_a_denial_counts_by_whatever_name_an_upstreams_repository_is_asked_for(
    people: People, tmp_path: Path
) -> None:
    blob = digest_of(LAYER)
    mount = f"/v2/other/copy/blobs/uploads/?mount={blob}&from=docker.io/app"
    short, own = f"/namespace/docker.io/app/blobs/{blob}", f"/v2/docker.io/app/blobs/{blob}"
    carol = people("carol", "agent")
    assert (await carol("GET", own)).status == 200
    assert (await carol("GET", short)).body == LAYER
    assert (await people("carol")("POST", mount)).status == 201
    access.write_rules(tmp_path / "access" / "policy.yaml", [*RULES, DENIED])

    async def denied() -> bool:
        answers = [await carol("GET", own), await people("carol")("GET", own)]
        return [one.status for one in answers] == [403, 403]

    await until(denied, 10)
    assert (await carol("GET", short)).status == 403
    assert (await people("carol")("POST", mount)).status == 202


async def test_a_pulled_image_is_served_on_while_the_upstream_is_away(
    people: People, upstream: Front
) -> None:
    blob = f"/v2/library/app/blobs/{digest_of(LAYER)}?ns=docker.io"
    carol = people("carol", "agent")
    for path in ("/v2/library/app/manifests/v1?ns=docker.io", blob):
        assert (await carol("GET", path)).status == 200
    upstream.down = True
    assert (await carol("GET", blob)).status == 200
    assert (await people("bob", "proxy")("GET", blob)).status == 200


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_an_upstreams_image_counts_as_signed_by_the_tag_for_its_signature(
    people: People, upstream: Front, session: aiohttp.ClientSession, tmp_path: Path, at: str
) -> None:
    signer, folder = Signer(), tmp_path / "access"
    (folder / "ours.pub").write_bytes(signer.public)
    demand = {"repositories": ["docker.io/**"], "keys": ["ours.pub"]}
    (folder / "policy.yaml").write_text(yaml.safe_dump({"rules": RULES, "signatures": [demand]}))
    carol, app = people("carol", at), "/v2/docker.io/library/app"

    async def refused() -> bool:
        return (await carol("GET", f"{app}/manifests/v1")).status == 403

    await until(refused, 10)
    assert (await carol("GET", f"{app}/blobs/{digest_of(LAYER)}")).status == 403
    home = Registry(session, upstream.url.removeprefix("http://"))
    signature = signer.sign(IMAGE)
    await signature.push(home, "library/app")

    async def served() -> bool:
        return (await carol("GET", f"{app}/manifests/v1")).status == 200

    await until(served, 10)
    assert (await carol("GET", f"{app}/manifests/{signature.tag}")).body == signature.manifest
    for blob in (LAYER, *signature.blobs):
        assert (await carol("GET", f"{app}/blobs/{digest_of(blob)}")).body == blob
