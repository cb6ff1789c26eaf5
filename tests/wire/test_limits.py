"""Clients that ask for more than their share are told which limit that is, others notice nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Ports, running
from octopull.config.limits import ClientLimits
from octopull.config.services import Listen, ProxyConfig
from octopull.config.tls import Tls
from octopull.http import crowd
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.errors import Misuse
from octopull.observability import metrics
from octopull.services.proxy.app import run as run_proxy
from support.registry import Registry
from support.self_signed import certificate
from support.services import started
from support.waiting import until

MOST = 3


def limited(service: str, limit: str) -> float:
    return float(metrics.LIMITED.labels(service, limit)._value.get())


@asynccontextmanager
async def held(listening: Listening, context: ssl.SSLContext | None) -> AsyncIterator[None]:
    """A connection that says nothing."""
    _, writer = await asyncio.open_connection(listening.host, listening.port, ssl=context)
    try:
        yield
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("secure", [False, True], ids=["in clear", "by TLS"])
async def test_an_address_has_so_many_connections_and_is_told_of_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    monkeypatch.setattr(crowd, "COUNT_EVERY_S", 0.0)
    files: Tls | None = certificate(tmp_path) if secure else None
    context = ssl.create_default_context(cafile=files.certificate) if files else None
    before = limited("test", "connections_per_address")
    listen = Listen(tls=files)
    async with serve(application("test"), "test", listen, crowd_max=MOST) as listening:
        url = f"{listening.url.replace('127.0.0.1', 'localhost')}/health"
        connector = aiohttp.TCPConnector(ssl=context or True, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def status() -> int:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(url) as answer:
                        told = await answer.text()
                        assert answer.status == 200 or "limits.connections_per_address" in told
                        return answer.status
                return 0

            async with contextlib.AsyncExitStack() as holding:
                for _ in range(MOST):
                    await holding.enter_async_context(held(listening, context))

                async def refused() -> bool:
                    return await status() == 429

                await until(refused, 10)
                assert limited("test", "connections_per_address") > before

            async def taken() -> bool:
                return await status() == 200

            await until(taken, 10)


@asynccontextmanager
async def proxy(folder: Path, limits: ClientLimits) -> AsyncIterator[Registry]:
    """A proxy with ``limits`` before a cluster without agents."""
    async with running(folder, 0, Ports(0, "127.0.0.1")) as cluster:
        config = ProxyConfig(
            origins=[cluster.origin.address], tag_indexes=[cluster.tag_index.address],
            replicas=1, limits=limits,
        )  # fmt: skip
        async with started(run_proxy, config) as one, aiohttp.ClientSession() as session:
            yield Registry(session, one.address)


async def test_a_client_that_asks_too_often_is_told_when_to_ask_again(tmp_path: Path) -> None:
    limits = ClientLimits(requests_per_s=0.01, requests_burst=MOST)
    async with proxy(tmp_path, limits) as registry:
        statuses = [(await registry("GET", "/v2/")).status for _ in range(MOST)]
        assert statuses == [200] * MOST
        answer = await registry("GET", "/v2/")
        assert answer.status == 429
        assert 1 < int(answer.headers["Retry-After"]) <= 100
        (error,) = answer.json["errors"]
        assert error["code"] == "TOOMANYREQUESTS"
        assert "limits.requests_per_s" in error["message"]
        assert (await registry("GET", "/health")).status == 200


async def test_so_many_uploads_may_be_open_and_one_more_when_one_has_ended(tmp_path: Path) -> None:
    async with proxy(tmp_path, ClientLimits(uploads=MOST)) as registry:
        path = "/v2/a/b/blobs/uploads/"
        begun = [await registry("POST", path) for _ in range(MOST)]
        assert [one.status for one in begun] == [202] * MOST
        refused = await registry("POST", path)
        assert refused.status == 429
        assert "limits.uploads" in refused.json["errors"][0]["message"]
        # What comes in one request is no session that stays.
        await registry.push_blob(b"a blob")
        assert (await registry("PATCH", begun[0].headers["Location"], b"more")).status == 202
        assert (await registry("DELETE", begun[0].headers["Location"])).status == 204
        assert (await registry("POST", path)).status == 202
        assert (await registry("POST", path)).status == 429


@pytest.mark.parametrize("wrong", [
    {"uploads": -1}, {"requests_per_s": float("nan")}, {"requests_burst": 0}, {"upload_idle_s": 0.0},
])  # fmt: skip
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Misuse):
        ClientLimits(**wrong)  # type: ignore[arg-type]
