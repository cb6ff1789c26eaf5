"""A whole cluster that speaks TLS alone: every service does its work with every other."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.own_certificates import OwnCertificates
from octopull.clients.collection import Swept, collect
from octopull.clients.preheats import PreheatClient
from octopull.clients.registry import Registry
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.placement.heartbeats import Preheat
from octopull.security.reloading import known_as
from octopull.security.roles import Role
from support.cluster import content
from support.waiting import until

SOON_S = 20.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    own = OwnCertificates(tmp_path / "tls", "127.0.0.1")
    own.make()
    async with running(tmp_path, 2, Ports(0, "127.0.0.1"), certificates=own) as one:
        yield one


@pytest.fixture
async def operator(cluster: Cluster) -> AsyncIterator[Http]:
    assert cluster.certificates is not None
    files = cluster.certificates.of(Role.OPERATOR)
    async with known_as(Role.OPERATOR, files) as tls, Http(tls=tls) as http:
        yield http


async def push(http: Http, cluster: Cluster, layer: bytes) -> Digest:
    """An image of one layer, as repository:v1; the digest of its manifest."""
    registry = Registry(http, cluster.proxy.url, "repository")
    config = b"{}"
    for blob in (layer, config):
        session = await registry.start_upload()

        async def body(blob: bytes = blob) -> AsyncIterator[bytes]:
            yield blob

        session = await registry.append(session, 0, len(blob), body())
        await registry.commit(session, Digest.of(blob))
    image = "application/vnd.oci.image"
    manifest = (
        f'{{"schemaVersion":2,"mediaType":"{image}.manifest.v1+json",'
        f'"config":{{"mediaType":"{image}.config.v1+json","digest":"{Digest.of(config)}","size":2}},'
        f'"layers":[{{"mediaType":"{image}.layer.v1.tar","digest":"{Digest.of(layer)}",'
        f'"size":{len(layer)}}}]}}'
    ).encode()
    await registry.put_manifest("v1", f"{image}.manifest.v1+json", manifest)
    return Digest.of(manifest)


async def test_an_image_is_pushed_pulled_preheated_and_collected(
    cluster: Cluster, operator: Http
) -> None:
    layer = content(9_000_000, 3)
    with structlog.testing.capture_logs() as lines:
        digest = await push(operator, cluster, layer)

        async def pulled(agent: str) -> bytes:
            url = f"https://{agent}/v2/repository/blobs/{Digest.of(layer)}"
            reply = await operator.call("GET", url, bytes_max=1 << 30, timeout_s=60)
            return reply.body

        for agent in cluster.agents:
            url = f"{agent.url}/v2/repository/manifests/v1"
            told = await operator.call("HEAD", url)
            assert told.headers["Docker-Content-Digest"] == str(digest)
        bodies = await asyncio.gather(*(pulled(agent.address) for agent in cluster.agents))
        assert set(bodies) == {layer}

        orders = PreheatClient(operator, [cluster.tracker.address])
        begun = await orders.begin(Preheat(namespace="repository", digest=str(digest)))

        async def heated() -> bool:
            standing = await orders.standing(begun.id)
            return standing.done == len(cluster.agents)

        await until(heated, SOON_S)
        swept = [one async for one in collect(operator, cluster.tag_index.address, grace_s=0,
                                              dry_run=False) if isinstance(one, Swept)]  # fmt: skip
        assert [one.failure for one in swept] == [""]
    refused = [
        one for one in lines if one["event"] == "tls.refused" or one.get("fault") == "denied"
    ]
    assert refused == []


async def test_no_port_answers_in_clear(cluster: Cluster) -> None:
    services = [cluster.proxy, cluster.tag_index, cluster.tracker, cluster.origin, *cluster.agents]
    for service in services:
        reader, writer = await asyncio.open_connection(service.host, service.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()


async def test_services_among_each_other_speak_tls_1_3_alone(cluster: Cluster) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for service in (cluster.tag_index, cluster.tracker, cluster.origin):
        with (
            socket.create_connection((service.host, service.port)) as sock,
            pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
        ):
            await asyncio.to_thread(old.wrap_socket, sock)
