"""A cluster whose proxy asks who calls is replicated to with credentials, and by nobody else."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from octopull.cli.cluster import Ports, running
from octopull.cli.embedded_access import MAKE_ONE
from octopull.config import load
from octopull.config.access import AccessSettings
from octopull.http.client import Http
from support import access
from support.access import As, basic
from support.images import image, pull, push
from support.registry import Registry, digest_of, index, manifest
from support.replicating import remote, replicated, rules
from support.waiting import until

MAY_REPLICATE = {"who": ["user:alice"], "repositories": ["team/**"], "actions": ["replicate"]}
PORTS = Ports(0, "127.0.0.1")


@pytest.mark.parametrize(
    "more", [{}, {"token_service": {"key": MAKE_ONE}}], ids=["basic", "tokens"]
)
async def test_images_and_deletions_reach_a_cluster_that_asks_who_calls(
    http: Http, tmp_path: Path, more: dict[str, Any]
) -> None:
    document = {"access": {**access.files(tmp_path / "access"), **more}}
    settings = load.load(AccessSettings, "access", document, {})
    credentials = tmp_path / "credentials"
    credentials.write_text(f"alice:{access.password('alice')}\n")
    async with running(tmp_path / "there", 1, PORTS, access=settings) as there:
        url = f"http://{there.proxy.address}"
        to = remote("other", url, credentials=str(credentials))
        async with (
            running(tmp_path / "here", 0, PORTS,
                    replication=rules(tmp_path / "rules.yaml", to, deletes=True)) as here,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):  # fmt: skip
            before = failures()
            pushed, proxy = image(1, 300_000, 10), Registry(session, here.proxy.address)
            await push(proxy, "team/app", "v1", pushed)

            # She may push, but not tell of another cluster's times.
            async def refused() -> bool:
                return failures() > before

            await until(refused, 20)
            more_rules = [*access.RULES, MAY_REPLICATE]
            access.write_rules(tmp_path / "access" / "policy.yaml", more_rules)
            await replicated(http, here.tag_index.address)
            for at in (there.proxy, there.agents[0]):
                await pull(As(session, at.address, basic("bob")), "team/app", "v1", pushed)
            children = [manifest(b"{}", blob) for blob in pushed.blobs[1:]]
            for child in children:
                await proxy.push_manifest("team/app", digest_of(child), child)
            assert (await proxy.push_manifest("team/app", "all", index(*children))).status == 201
            assert (await proxy("DELETE", "/v2/team/app/manifests/v1")).status == 202
            await replicated(http, here.tag_index.address)
            bob = As(session, there.proxy.address, basic("bob"))
            assert (await bob("GET", "/v2/team/app/tags/list")).json["tags"] == ["all"]
            assert (await bob("GET", "/v2/team/app/manifests/all")).body == index(*children)


def failures() -> float:
    """Attempts of this process that failed."""
    found = REGISTRY.get_sample_value("octopull_replication_failures_total", {"remote": "other"})
    return found or 0.0
