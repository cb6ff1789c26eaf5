"""Replication to another cluster and to Debian's docker-registry, by what reaches them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.registry import ACCEPT
from octopull.clients.replication import progress
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.services.tag_index.store import TagStore
from support.images import image, pull, push
from support.registry import Registry, digest_of, index
from support.replicating import remote, replicated, rules
from support.upstream import Front, front
from support.waiting import until

PORTS = Ports(0, "127.0.0.1")


@pytest.fixture
async def behind(address: str) -> AsyncIterator[Front]:
    async with front(address) as one:
        yield one


@pytest.fixture
def there(session: aiohttp.ClientSession, address: str) -> Registry:
    return Registry(session, address)


@pytest.fixture
async def cluster(tmp_path: Path, behind: Front) -> AsyncIterator[Cluster]:
    settings = rules(
        tmp_path / "rules.yaml", remote("other", behind.url), deletes=True, referrers=True
    )
    async with running(tmp_path / "here", 0, PORTS, replication=settings) as one:
        yield one


@pytest.fixture
def here(session: aiohttp.ClientSession, cluster: Cluster) -> Registry:
    return Registry(session, cluster.proxy.address)


async def test_an_image_and_its_moved_tag_reach_the_remote(
    http: Http, cluster: Cluster, here: Registry, there: Registry
) -> None:
    for seed in (1, 2):
        pushed = image(seed, 300_000, 10)
        await push(here, "team/app", "v1", pushed)
        await replicated(http, cluster.tag_index.address)
        await pull(there, "team/app", "v1", pushed)


async def test_only_blobs_that_the_remote_lacks_are_sent(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front
) -> None:
    first = image(1, 300_000)
    await push(here, "team/app", "v1", first)
    await replicated(http, cluster.tag_index.address)
    sent = behind.count("PATCH", "/blobs/uploads/")
    assert sent == 2
    await push(here, "team/app", "v2", first)
    await push(here, "team/other", "v1", first)
    await replicated(http, cluster.tag_index.address)
    await pull(there, "team/app", "v2", first)
    await pull(there, "team/other", "v1", first)
    assert behind.count("PATCH", "/blobs/uploads/") == sent


async def test_an_index_comes_with_its_images_and_what_is_signed(
    http: Http, cluster: Cluster, here: Registry, there: Registry
) -> None:
    images = [image(seed, 1000) for seed in (1, 2)]
    for one in images:
        for blob in one.blobs:
            await here.push_blob(blob, "team/app")
        await here.push_manifest("team/app", digest_of(one.manifest), one.manifest)
    inner = index(images[0].manifest)
    await here.push_manifest("team/app", digest_of(inner), inner)
    outer = index(images[1].manifest, inner)
    assert (await here.push_manifest("team/app", "v1", outer)).status == 201
    await replicated(http, cluster.tag_index.address)
    answer = await there("GET", "/v2/team/app/manifests/v1", Accept=ACCEPT)
    assert answer.body == outer
    for one in images:
        await pull(there, "team/app", digest_of(one.manifest), one)


async def test_what_refers_to_a_manifest_goes_along_whenever_it_comes(
    http: Http, cluster: Cluster, here: Registry, there: Registry
) -> None:
    pushed = image(1, 1000)
    about = json.loads(pushed.manifest)
    subject = {
        "mediaType": about["mediaType"], "digest": digest_of(pushed.manifest),
        "size": len(pushed.manifest),
    }  # fmt: skip
    before = await here.push_image("team/app", subject=subject, artifactType="text/before")
    await push(here, "team/app", "v1", pushed)
    after = await here.push_image("team/app", subject=subject, artifactType="text/after")
    await replicated(http, cluster.tag_index.address)
    for referrer in (before, after):
        path = f"/v2/team/app/manifests/{digest_of(referrer)}"
        answer = await there("GET", path, Accept=ACCEPT)
        assert (answer.status, answer.body) == (200, referrer)


async def test_a_manifest_deleted_here_is_deleted_there(
    http: Http, cluster: Cluster, here: Registry, there: Registry
) -> None:
    pushed = image(1, 1000)
    await push(here, "team/app", "v1", pushed)
    await replicated(http, cluster.tag_index.address)
    path = f"/v2/team/app/manifests/{digest_of(pushed.manifest)}"
    assert (await here("DELETE", path)).status == 202
    await replicated(http, cluster.tag_index.address)
    assert (await there("GET", path, Accept=ACCEPT)).status == 404
    assert (await there("GET", "/v2/team/app/manifests/v1", Accept=ACCEPT)).status == 404


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_a_tag_deleted_here_is_deleted_there_and_its_manifest_stays(
    http: Http, cluster: Cluster, here: Registry, there: Registry
) -> None:
    pushed = image(1, 1000)
    await push(here, "team/app", "v1", pushed)
    await replicated(http, cluster.tag_index.address)
    assert (await here("DELETE", "/v2/team/app/manifests/v1")).status == 202
    await replicated(http, cluster.tag_index.address)
    assert (await there("GET", "/v2/team/app/manifests/v1")).status == 404
    await pull(there, "team/app", digest_of(pushed.manifest), pushed)


async def test_a_remote_that_is_away_delays_no_push_and_has_all_once_it_is_back(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front
) -> None:
    behind.down = True
    images = [image(seed, 5000) for seed in range(4)]
    for one in images:
        await push(here, "team/app", "moving", one)
    await push(here, "team/app", "fixed", images[0])

    async def failing() -> bool:
        (remote,) = (await progress(http, cluster.tag_index.address)).remotes
        return bool(remote.failing) and remote.pending == 2 and remote.oldest_s > 0

    await until(failing, 30)
    behind.down = False
    await replicated(http, cluster.tag_index.address)
    await pull(there, "team/app", "moving", images[-1])
    await pull(there, "team/app", "fixed", images[0])
    # Moves collapsed: what nobody wants any longer was not sent.
    for one in images[1:-1]:
        path = f"/v2/team/app/blobs/{digest_of(one.blobs[1])}"
        assert (await there("HEAD", path)).status == 404


async def test_a_tag_never_goes_back_at_the_remote(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front
) -> None:
    images = [image(seed, 1000) for seed in range(12)]
    numbers = {digest_of(one.manifest): number for number, one in enumerate(images)}
    for one in images:
        await push(here, "team/app", "latest", one)
    await replicated(http, cluster.tag_index.address)
    await pull(there, "team/app", "latest", images[-1])
    order = [numbers[digest_of(one)] for one in behind.put]
    assert order == sorted(order)
    assert order[-1] == len(images) - 1


async def test_an_upload_that_breaks_goes_on(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front
) -> None:
    pushed = image(1, 3_000_000)
    behind.upload_cuts = [1_000_000, 500_000]
    await push(here, "team/app", "v1", pushed)
    await replicated(http, cluster.tag_index.address)
    await pull(there, "team/app", "v1", pushed)


@pytest.mark.parametrize("address", ["docker-registry"], indirect=True)
@pytest.mark.parametrize("status", [400, 403])
async def test_a_blob_that_may_not_be_mounted_is_sent(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front, status: int
) -> None:
    pushed = image(1, 5000)
    await push(here, "team/app", "v1", pushed)
    await replicated(http, cluster.tag_index.address)
    behind.refuse_mounts = status
    await push(here, "team/other", "v1", pushed)
    await replicated(http, cluster.tag_index.address)
    await pull(there, "team/other", "v1", pushed)


async def test_what_one_repository_is_refused_keeps_no_other_waiting(
    http: Http, cluster: Cluster, here: Registry, there: Registry, behind: Front
) -> None:
    behind.forbidden = "secret/"
    pushed = image(1, 5000)
    for number in range(6):
        await push(here, f"secret/app{number}", "v1", pushed)
    await push(here, "team/app", "v1", pushed)

    async def refused_alone() -> bool:
        (remote,) = (await progress(http, cluster.tag_index.address)).remotes
        return remote.pending == 6 and not remote.failing

    await until(refused_alone, 30)
    await pull(there, "team/app", "v1", pushed)


@pytest.mark.parametrize("at", ["soon", "nan", "-1", "99999999999"])
async def test_a_change_made_at_no_possible_time_is_refused(here: Registry, at: str) -> None:
    pushed = image(1, 10)
    for blob in pushed.blobs:
        await here.push_blob(blob, "team/app")
    answer = await here.push_manifest("team/app", "v1", pushed.manifest, Octopull_Moved_At=at)
    assert answer.status == 400
    assert (await here("GET", "/v2/team/app/manifests/v1")).status == 404


async def test_an_older_change_is_not_refused_but_makes_no_difference(here: Registry) -> None:
    first, second = image(1, 10), image(2, 10)
    await push(here, "team/app", "v1", first)
    for blob in second.blobs:
        await here.push_blob(blob, "team/app")
    answer = await here.push_manifest("team/app", "v1", second.manifest, Octopull_Moved_At="1000.5")
    assert (answer.status, answer.headers["Octopull-Kept"]) == (201, "true")
    answer = await here("DELETE", "/v2/team/app/manifests/v1", Octopull_Moved_At="1000.5")
    assert (answer.status, answer.headers["Octopull-Kept"]) == (202, "true")
    path = f"/v2/team/app/manifests/{digest_of(first.manifest)}"
    answer = await here("DELETE", path, Octopull_Moved_At="1000.5")
    assert (answer.status, answer.headers["Octopull-Kept"]) == (202, "true")
    await pull(here, "team/app", "v1", first)


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_a_session_at_another_address_is_not_waited_for(
    http: Http, tmp_path: Path, address: str, session: aiohttp.ClientSession, there: Registry
) -> None:
    pushed = image(1, 20_000_000)
    digest = Digest.parse(digest_of(pushed.blobs[1]))
    store = TagStore(tmp_path / "here" / "tag-index" / "repositories.sqlite")
    await store.left_uploads.leave("other", "team/app", digest, "http://127.0.0.1:1/v2/x")
    store.close()
    settings = rules(tmp_path / "rules.yaml", remote("other", f"http://{address}"))
    async with running(tmp_path / "here", 0, PORTS, replication=settings) as one:
        await push(Registry(session, one.proxy.address), "team/app", "v1", pushed)
        await replicated(http, one.tag_index.address)
    await pull(there, "team/app", "v1", pushed)
