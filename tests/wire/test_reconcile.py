"""``octopull replicate``: what differs between a cluster and its remotes is found and mended."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.registry import ACCEPT
from octopull.clients.replication import Compared, Ended, forget, progress, reconcile
from octopull.http.client import Http
from octopull.kernel.errors import NotFound
from support.cluster import OCTOPULL
from support.images import Image, image, pull, push
from support.registry import Registry, digest_of, manifest
from support.replicating import remote, replicated, rules, untold, written
from support.waiting import until

PORTS = Ports(0, "127.0.0.1")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.fixture
def there(session: aiohttp.ClientSession, address: str) -> Registry:
    return Registry(session, address)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


@pytest.fixture
async def cluster(tmp_path: Path, path: Path, address: str) -> AsyncIterator[Cluster]:
    to = remote("other", f"http://{address}/mirror")
    settings = rules(path, to, deletes=True, referrers=True)
    async with running(tmp_path / "here", 0, PORTS, replication=settings) as one:
        yield one


@pytest.fixture
def here(session: aiohttp.ClientSession, cluster: Cluster) -> Registry:
    return Registry(session, cluster.proxy.address)


@pytest.fixture
def index(cluster: Cluster) -> str:
    return cluster.tag_index.address


async def compared(
    http: Http, index: str, *, dry_run: bool = False, overwrite: bool = False
) -> list[Compared]:
    """What was told, which must have ended well."""
    found = [
        line async for line in reconcile(http, index, "other", dry_run=dry_run, overwrite=overwrite)
    ]
    *lines, last = found
    assert last == Ended()
    return [line for line in lines if isinstance(line, Compared)]


async def remotes(http: Http, index: str, count: int) -> bool:
    """Whether the rules that count name so many."""
    return len((await progress(http, index)).remotes) == count


async def sign(registry: Registry, pushed: Image) -> bytes:
    """Push what refers to ``pushed``; its manifest."""
    subject = {
        "mediaType": json.loads(pushed.manifest)["mediaType"],
        "digest": digest_of(pushed.manifest),
        "size": len(pushed.manifest),
    }
    return await registry.push_image("team/app", subject=subject, artifactType="text/x")


async def test_differences_are_named_and_mended(
    http: Http, index: str, here: Registry, there: Registry
) -> None:
    ours = image(1, 1000)
    for tag in ("moved", "same"):
        await push(here, "team/app", tag, ours)
    await replicated(http, index)
    # Another image of the same blobs.
    theirs = manifest(*ours.blobs, annotations={"by": "them"})
    for tag in ("moved", "theirs"):
        assert (await there.push_manifest("mirror/team/app", tag, theirs)).status == 201
    expected = Compared(
        repository="team/app", tags=2, lacking=[], moved=["moved"], deleted=[], referrers=[],
        only_there=1,
    )  # fmt: skip
    for dry_run in (True, True, False):
        assert await compared(http, index, dry_run=dry_run, overwrite=True) == [expected]
    await replicated(http, index)
    await pull(there, "mirror/team/app", "moved", ours)
    answer = await there("GET", "/v2/mirror/team/app/manifests/theirs", Accept=ACCEPT)
    assert answer.body == theirs
    (again,) = await compared(http, index)
    assert not again.differs


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_what_was_moved_at_the_remote_later_stays_unless_it_is_overwritten(
    http: Http, index: str, here: Registry, there: Registry
) -> None:
    ours, theirs = image(1, 1000), image(2, 1000)
    await push(here, "team/app", "v1", ours)
    await replicated(http, index)
    await push(there, "mirror/team/app", "v1", theirs)
    for overwrite, expected in ((False, theirs), (True, ours)):
        (found,) = await compared(http, index, overwrite=overwrite)
        assert found.moved == ["v1"]
        await replicated(http, index)
        await pull(there, "mirror/team/app", "v1", expected)


async def test_what_was_there_before_the_rules_is_found_lacking_and_copied(
    http: Http, index: str, path: Path, address: str, here: Registry, there: Registry
) -> None:
    written(path, {"remotes": [], "rules": []})

    await until(lambda: remotes(http, index, 0), 20)
    pushed = image(1, 1000)
    await push(here, "team/app", "v1", pushed)
    signed = await sign(here, pushed)
    rules(path, remote("other", f"http://{address}/mirror"), referrers=True)
    await until(lambda: remotes(http, index, 1), 20)
    assert await untold(http, index) == 0
    (found,) = await compared(http, index)
    assert (found.lacking, found.referrers) == (["v1"], [digest_of(signed)])
    await replicated(http, index)
    await pull(there, "mirror/team/app", "v1", pushed)
    answer = await there("GET", f"/v2/mirror/team/app/manifests/{digest_of(signed)}", Accept=ACCEPT)
    assert answer.body == signed


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_what_refers_to_a_tag_that_the_remote_has_already_goes_along(
    http: Http, index: str, path: Path, address: str, here: Registry, there: Registry
) -> None:
    written(path, {"remotes": [], "rules": []})

    await until(lambda: remotes(http, index, 0), 20)
    pushed = image(1, 1000)
    await push(here, "team/app", "v1", pushed)
    await push(there, "mirror/team/app", "v1", pushed)
    signed = await sign(here, pushed)
    rules(path, remote("other", f"http://{address}/mirror"), referrers=True)
    await until(lambda: remotes(http, index, 1), 20)
    await push(here, "team/app", "v1", pushed)
    await replicated(http, index)
    answer = await there("GET", f"/v2/mirror/team/app/manifests/{digest_of(signed)}", Accept=ACCEPT)
    assert answer.body == signed


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_a_tag_deleted_here_and_planted_there_goes_and_others_stay(
    http: Http, index: str, here: Registry, there: Registry
) -> None:
    pushed = image(1, 1000)
    for tag in ("gone", "stays"):
        await push(here, "team/app", tag, pushed)
    await replicated(http, index)
    assert (await here("DELETE", "/v2/team/app/manifests/gone")).status == 202
    await replicated(http, index)
    for tag in ("gone", "theirs"):
        await push(there, "mirror/team/app", tag, pushed)
    (found,) = await compared(http, index, overwrite=True)
    assert (found.deleted, found.only_there) == (["gone"], 1)
    await replicated(http, index)
    assert (await there("GET", "/v2/mirror/team/app/tags/list")).json["tags"] == ["stays", "theirs"]


async def run(*words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        OCTOPULL, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


@pytest.mark.parametrize("address", ["octopull"], indirect=True)
async def test_the_command_tells_what_differs_and_has_it_mended(
    http: Http, index: str, cluster: Cluster, here: Registry, there: Registry
) -> None:
    pushed, theirs = image(1, 1000), image(2, 1000)
    await push(here, "team/app", "v1", pushed)
    await replicated(http, index)
    await push(there, "mirror/team/app", "v1", theirs)
    at = ("--tag-index", index)
    code, told = await run("replicate", *at, "--reconcile", "other", "--overwrite")
    assert code == 0
    assert "team/app:v1 stands for something else there" in told
    assert "other: 1 repositories, 1 tags, 1 differ and will be mended" in told
    await replicated(http, index)
    code, told = await run("replicate", *at, "--reconcile", "other", "--dry-run")
    assert "0 differ" in told
    code, told = await run("replicate", *at)
    assert "other" in told
    words = ("--proxy", cluster.proxy.address, "--agent", cluster.proxy.address, *at)
    code, told = await run("status", "--json", *words)
    (row,) = [row for row in json.loads(told) if row["service"] == "tag index"]
    assert row["replication"]["remotes"][0]["pending"] == 0
    code, told = await run("replicate", *at, "--reconcile", "nowhere")
    assert code == 1
    assert "no remote nowhere" in told


async def test_a_remote_that_left_the_rules_is_shown_and_forgotten(
    http: Http, index: str, path: Path, here: Registry
) -> None:
    rules(path, remote("silent", "http://127.0.0.1:1"))

    async def silent() -> bool:
        return [one.name for one in (await progress(http, index)).remotes] == ["silent"]

    await until(silent, 20)
    await push(here, "team/app", "v1", image(1, 10))
    written(path, {})

    async def unruled() -> bool:
        (one,) = (await progress(http, index)).remotes
        return not one.ruled and one.pending == 1

    await until(unruled, 20)
    with pytest.raises(NotFound):
        await compared(http, index)
    assert await forget(http, index, "silent") == 1
    assert not (await progress(http, index)).remotes


async def test_a_remote_that_is_away_ends_the_comparison_and_says_so(
    http: Http, index: str, path: Path, here: Registry
) -> None:
    rules(path, remote("other", "http://127.0.0.1:1"))
    await push(here, "team/app", "v1", image(1, 10))

    async def failing() -> bool:
        lines = [
            line async for line in reconcile(http, index, "other", dry_run=True, overwrite=False)
        ]
        return isinstance(lines[-1], Ended) and "other" in lines[-1].failure

    await until(failing, 20)
