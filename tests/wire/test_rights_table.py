"""Every route of the internal services by every kind of caller, tried; docs/rights.md has the outcome."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.own_certificates import OwnCertificates
from octopull.http import serving
from octopull.security.rights import may
from octopull.security.roles import Role

DOCUMENT = Path(__file__).parents[2] / "docs" / "rights.md"
CALLERS: tuple[Role | None, ...] = (*Role, None)
SERVICES = {"origin": "/collect", "tracker": "/announce", "tag_index": "/gc"}
"""Each has a route that no other has."""


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> list[web.Application]:
    """Those that are served, with all their routes."""
    found: list[web.Application] = []
    add = serving._add_standing_routes

    def added(app: web.Application, checks: Sequence[serving.Check]) -> None:
        add(app, checks)
        found.append(app)

    monkeypatch.setattr(serving, "_add_standing_routes", added)
    return found


@pytest.fixture
async def cluster(apps: list[web.Application], tmp_path: Path) -> AsyncIterator[Cluster]:
    del apps  # Must be there before.
    own = OwnCertificates(tmp_path / "tls", "127.0.0.1")
    own.make()
    async with running(tmp_path, 0, Ports(0, "127.0.0.1"), certificates=own) as one:
        yield one


def routes(apps: list[web.Application], of: str) -> list[tuple[str, str]]:
    """Method and path of each route of the service that has ``of``, as it registered them."""
    found = [
        {(route.method, route.resource.canonical)
         for route in one.router.routes() if route.resource is not None}
        for one in apps
    ]  # fmt: skip
    (ours,) = [one for one in found if any(path == of for _, path in one)]
    return sorted(ours, key=lambda route: (route[1], route[0]))


async def test_every_cell_of_the_table_is_as_it_is_answered(
    cluster: Cluster, apps: list[web.Application]
) -> None:
    assert cluster.certificates is not None
    hosts = {"origin": cluster.origin, "tracker": cluster.tracker, "tag_index": cluster.tag_index}
    lines = ["| | agent | origin | tracker | tag index | proxy | operator | nobody |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    async with aiohttp.ClientSession() as session:
        contexts = {caller: _context(cluster, caller) for caller in CALLERS}
        for service, own in SERVICES.items():
            for method, path in routes(apps, own):
                url = hosts[service].url + re.sub(r"\{\w+\}", "x", path)
                answers = await asyncio.gather(
                    *(_denied(session, method, url, contexts[caller]) for caller in CALLERS)
                )
                for caller, denied in zip(CALLERS, answers, strict=True):
                    held = frozenset() if caller is None else frozenset({caller})
                    assert denied != may(service, method, path, held), (method, path, caller)
                if method != "HEAD":
                    marks = " | ".join("" if denied else "yes" for denied in answers)
                    name = service.replace("_", " ")
                    lines.append(f"| {name} `{method} {path}` | {marks} |")
    told = DOCUMENT.read_text().partition("| | agent |")
    table = (told[1] + told[2]).partition("\n\n")[0].strip()
    assert table.splitlines() == lines


async def _denied(
    session: aiohttp.ClientSession, method: str, url: str, context: ssl.SSLContext
) -> bool:
    async with session.request(method, url, ssl=context) as response:
        body = await response.read()
        assert response.status < 500 or b"UNAVAILABLE" in body, body
        return response.status == 403


def _context(cluster: Cluster, caller: Role | None) -> ssl.SSLContext:
    assert cluster.certificates is not None
    files = cluster.certificates.of(caller or Role.AGENT)
    context = ssl.create_default_context(cafile=files.authority)
    if caller is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context
