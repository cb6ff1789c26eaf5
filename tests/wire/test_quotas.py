"""What a namespace may hold: pushes beyond it are refused in words, whoever comes by whichever proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import REGISTRY

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.quotas import _ask
from octopull.config.quotas import QuotaFileSettings
from octopull.config.services import ProxyConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.observability import metrics
from octopull.services.proxy.app import run as run_proxy
from support.cluster import content
from support.images import Image, image, push
from support.registry import Answer, Registry, manifest
from support.replicating import remote, replicated, rules
from support.services import started
from support.waiting import until

PORTS = Ports(0, "127.0.0.1")
LIMIT = 1_000_000
UPLOADS = "/v2/team/app/blobs/uploads/"


def quotas(path: Path, limit: int = LIMIT, *more: dict[str, Any]) -> QuotaFileSettings:
    document = {"quotas": [{"name": "team", "repositories": ["team/**"], "bytes": limit}, *more]}
    path.write_text(yaml.safe_dump(document))
    return QuotaFileSettings(file=str(path), check_s=0.1, measure_s=0.1)


@asynccontextmanager
async def cluster(folder: Path, **more: Any) -> AsyncIterator[tuple[Cluster, Registry]]:
    """One without agents."""
    async with (
        running(folder / "cluster", 0, PORTS, **more) as one,
        aiohttp.ClientSession() as session,
    ):
        yield one, Registry(session, one.proxy.address)


async def used(one: Cluster, quota: str = "team") -> int:
    found = await _ask(one.tag_index.address)
    assert found.unknown == 0
    return next(each.used for each in found.quotas if each.name == quota)


def size(*images: Image) -> int:
    """Of all that they are made of, each once."""
    return sum(map(len, {part for one in images for part in (one.manifest, *one.blobs)}))


def refused(answer: Answer) -> str:
    """The words of a refusal."""
    assert (answer.status, answer.code) == (403, "DENIED"), answer
    return str(answer.json["errors"][0]["message"])


def counted() -> float:
    return float(metrics.LIMITED.labels("tag_index", "quota")._value.get())


async def test_a_push_beyond_the_quota_is_refused_and_fits_once_an_image_is_deleted(
    tmp_path: Path,
) -> None:
    one, two, three = (image(seed, 400_000) for seed in (1, 2, 3))
    async with cluster(tmp_path, quotas=quotas(tmp_path / "quotas.yaml")) as (it, proxy):
        # What two repositories hold counts once, and so does what is pushed again.
        await push(proxy, "team/app", "one", one)
        await push(proxy, "team/tool", "one", one)
        await push(proxy, "team/tool", "two", two)
        assert (await proxy.push_manifest("team/app", "again", one.manifest)).status == 201
        await push(proxy, "elsewhere", "three", image(4, LIMIT))
        assert await used(it) == size(one, two)
        before, digest = counted(), Digest.of(three.blobs[1])
        words = refused(await proxy("POST", f"{UPLOADS}?digest={digest}", three.blobs[1]))
        assert "390.6 KiB" in words
        assert "would exceed the quota team of 976.6 KiB for team/**" in words
        assert counted() > before
        assert await used(it) == size(one, two)
        shown = {"quota": "team"}
        assert REGISTRY.get_sample_value("octopull_quota_limit_bytes", shown) == LIMIT

        async def is_shown() -> bool:
            return REGISTRY.get_sample_value("octopull_quota_used_bytes", shown) == await used(it)

        await until(is_shown, 10)
        gone = f"/v2/team/tool/manifests/{Digest.of(two.manifest)}"
        assert (await proxy("DELETE", gone)).status == 202
        await push(proxy, "team/app", "three", three)
        assert await used(it) == size(one, three)


async def test_the_put_that_ends_an_upload_may_be_repeated_and_counts_if_it_did_not(
    tmp_path: Path,
) -> None:
    one, other = content(600_000, 1), content(600_000, 2)
    async with cluster(tmp_path, quotas=quotas(tmp_path / "quotas.yaml")) as (it, proxy):
        ended = f"{(await proxy('POST', UPLOADS)).headers['Location']}?digest={Digest.of(one)}"
        for body in (one, one, None):
            assert (await proxy("PUT", ended, body)).status == 201
        assert await used(it) == len(one)
        # A commit that nobody recorded is no way around the quota.
        assert (await proxy("DELETE", f"/v2/team/app/blobs/{Digest.of(one)}")).status == 202
        await proxy.push_blob(other, "team/app")
        refused(await proxy("PUT", ended))
        assert await used(it) == len(other)


async def test_what_no_manifest_refers_to_counts_and_is_not_even_taken_when_there_is_no_room(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, quotas=quotas(tmp_path / "quotas.yaml")) as (it, proxy):
        await proxy.push_blob(content(600_000, 1), "team/app")
        assert await used(it) == 600_000
        # A session is cut off as soon as more has come than may, and gone.
        begun = [(await proxy("POST", UPLOADS)).headers["Location"] for _ in range(3)]
        words = refused(await proxy("PATCH", begun[0], content(LIMIT, 2)))
        assert "to the 585.9 KiB that are used would exceed the quota team" in words
        assert (await proxy("GET", begun[0])).status == 404
        # What others are sending takes room, too.
        assert (await proxy("PATCH", begun[1], content(300_000, 3))).status == 202
        refused(await proxy("PATCH", begun[2], content(300_000, 4)))
        assert (await proxy("DELETE", begun[1])).status == 204
        await proxy.push_blob(content(400_000, 5), "team/app")
        assert "is full: 976.6 KiB are used" in refused(await proxy("POST", UPLOADS))
        # A blob that is elsewhere can't be mounted, nor a manifest made of it be pushed.
        there = await proxy.push_blob(content(300_000, 6), "elsewhere")
        refused(await proxy("POST", f"{UPLOADS}?mount={there}&from=elsewhere"))
        made = manifest(content(300_000, 6))
        words = refused(await proxy.push_manifest("team/app", "v1", made))
        assert "is full" in words
        assert (await proxy("GET", f"/v2/elsewhere/blobs/{Digest.of(made)}")).status == 404
        gone = await proxy("DELETE", f"/v2/team/app/blobs/{Digest.of(content(400_000, 5))}")
        assert gone.status == 202
        assert await used(it) == 600_000
        assert (await proxy.push_manifest("team/app", "v1", made)).status == 201


async def test_pushes_at_once_by_two_proxies_do_not_go_beyond_together(tmp_path: Path) -> None:
    async with cluster(tmp_path, quotas=quotas(tmp_path / "quotas.yaml")) as (it, proxy):
        config = ProxyConfig(
            origins=[it.origin.address], tag_indexes=[it.tag_index.address], replicas=1
        )
        blobs = [content(150_000, seed) for seed in range(12)]
        # They are there, and so not counted yet: each manifest brings its own.
        for blob in blobs:
            await proxy.push_blob(blob, "elsewhere")
        async with started(run_proxy, config) as other, aiohttp.ClientSession() as session:
            proxies = proxy, Registry(session, other.address)
            answers = await asyncio.gather(
                *(
                    proxies[at % 2].push_manifest(f"team/{at}", "v1", manifest(blob))
                    for at, blob in enumerate(blobs)
                )
            )
        statuses = [one.status for one in answers]
        assert (statuses.count(201), statuses.count(403)) == (6, 6), statuses
        assert 900_000 < await used(it) <= LIMIT


async def test_quotas_change_while_the_tag_index_runs_and_wrong_ones_change_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "quotas.yaml"
    one, two = image(1, 400_000), image(2, 700_000)
    async with cluster(tmp_path, quotas=quotas(path, 10)) as (it, proxy):
        refused(await proxy("POST", f"{UPLOADS}?digest={Digest.of(b'0' * 11)}", b"0" * 11))
        quotas(path, 900_000)

        async def pushes() -> bool:
            return (await _ask(it.tag_index.address)).quotas[0].limit == 900_000

        await until(pushes, 10)
        await push(proxy, "team/app", "one", one)
        path.write_text("quotas: [{name: team}]")

        async def is_told() -> bool:
            name, labels = "octopull_access_files_refused", {"file": "quotas"}
            return REGISTRY.get_sample_value(name, labels) == 1

        await until(is_told, 10)
        refused(await proxy("POST", f"{UPLOADS}?digest={Digest.of(two.blobs[1])}", two.blobs[1]))
        quotas(path, 2_000_000, {"name": "all", "repositories": ["**"], "bytes": 0})

        async def both() -> bool:
            return len((await _ask(it.tag_index.address)).quotas) == 2

        await until(both, 10)
        assert await used(it, "all") == size(one)
        assert "the quota all of 0 B for **" in refused(await proxy("POST", UPLOADS))


async def test_what_was_pushed_before_there_were_quotas_counts(tmp_path: Path) -> None:
    one = image(1, 400_000)
    async with cluster(tmp_path) as (it, proxy):
        await push(proxy, "team/app", "one", one)
        assert (await _ask(it.tag_index.address)).quotas == []
    async with cluster(tmp_path, quotas=quotas(tmp_path / "quotas.yaml")) as (it, proxy):

        async def is_known() -> bool:
            return (await _ask(it.tag_index.address)).unknown == 0

        await until(is_known, 10)
        assert await used(it) == size(one)
        more = image(2, 700_000)
        refused(await proxy("POST", f"{UPLOADS}?digest={Digest.of(more.blobs[1])}", more.blobs[1]))


async def test_what_another_cluster_sends_counts_and_is_not_refused(
    http: Http, tmp_path: Path
) -> None:
    one = image(1, 700_000, 600_000)
    async with cluster(tmp_path / "there", quotas=quotas(tmp_path / "quotas.yaml")) as (it, theirs):
        to = remote("there", f"http://{theirs.address}")
        route = rules(tmp_path / "rules.yaml", to)
        async with cluster(tmp_path / "here", replication=route) as (us, proxy):
            await push(proxy, "team/app", "v1", one)
            await replicated(http, us.tag_index.address)
        assert await used(it) == size(one) > LIMIT
        refused(await theirs("POST", UPLOADS))
        # What adds nothing is taken all the same.
        assert (await theirs.push_manifest("team/app", "v2", one.manifest)).status == 201


@pytest.mark.parametrize("text", ["quotas: 1", "quotas: [{name: team}]"])
async def test_a_file_that_is_wrong_from_the_start_is_said_at_the_start(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text(text)
    with pytest.raises(ExceptionGroup, match="unhandled") as told:
        async with cluster(tmp_path, quotas=QuotaFileSettings(file=str(path))):
            pass
    assert str(path) in repr(told.value)
