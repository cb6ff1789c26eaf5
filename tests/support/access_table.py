"""Who may use which endpoint: every cell is tried, and written as a table.

``make access-table`` writes docs/access-table.md anew.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from aiohttp import web

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.embedded_access import MAKE_ONE
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.security import issuing
from octopull.security.scopes import Scope
from support import access
from support.access import As, basic

DOCUMENT = Path(__file__).parents[2] / "docs" / "access-table.md"
REPOSITORY = "team/app"
DIGEST = "sha256:" + "0" * 64
FILLED = {
    "repository": REPOSITORY, "namespace": REPOSITORY, "digest": DIGEST, "reference": "v1",
    "token": "none", "tag": f"{REPOSITORY}:v1", "rest": "none",
}  # fmt: skip
RULES = [
    {"who": [f"user:{user}"], "repositories": ["team/**"], "actions": actions}
    for user, actions in (
        ("bob", ["pull"]), ("carol", ["pull", "push"]), ("alice", ["pull", "push", "delete"]),
    )
] + [{"who": ["user:root"], "repositories": ["**"], "actions": ["pull", "push", "delete", "admin"]}]  # fmt: skip

Endpoint = tuple[str, str, str]
"""Service, method, and path as it was registered."""

ALLOWED, ASKED, DENIED = "yes", "log in", "no"


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster that asks who calls."""
    files = access.files(folder / "access")
    access.write_rules(folder / "access" / "policy.yaml", RULES)
    settings = AccessSettings(**files, token_service=TokenServiceSettings(key=MAKE_ONE))
    async with running(folder / "data", 1, Ports(0, "127.0.0.1"), access=settings) as cluster:
        yield cluster


def callers(key: Path) -> Mapping[str, str | None]:
    """What each kind of caller shows."""
    settings = TokenServiceSettings(key=str(key))
    signer = issuing.parse(key.read_bytes())

    def token(action: str, ago_s: float = 0.0) -> str:
        grants = (Scope("repository", REPOSITORY, (action,)),)
        return f"Bearer {signer.token(settings, 'bob', grants, time.time() - ago_s)}"

    return {
        "nobody": None,
        "wrong password": basic("alice", "wrong"),
        "old token": token("pull", 3600.0),
        "token: pull": token("pull"),
        "token: push": token("push"),
        "may pull": basic("bob"),
        "may push": basic("carol"),
        "may delete": basic("alice"),
        "administrator": basic("root"),
    }


def endpoints(apps: Mapping[str, web.Application]) -> list[Endpoint]:
    """All that proxy and agent answer, as their routers say."""
    return sorted(
        {
            (service, "any" if route.method == "*" else route.method, route.resource.canonical)
            for service, app in apps.items()
            for route in app.router.routes()
            if route.resource is not None
        }
    )


async def tried(cluster: Cluster, key: Path, every: list[Endpoint]) -> dict[Endpoint, list[str]]:
    """What each kind of caller gets of each endpoint, in the order of ``callers``."""
    at = {"proxy": cluster.proxy.address, "agent": cluster.agents[0].address}
    found: dict[Endpoint, list[str]] = {}
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for service, method, path in every:
            url = path.format(**FILLED)
            verb = "OPTIONS" if method == "any" else method
            row = found[service, method, path] = []
            for shown in callers(key).values():
                answer = await As(session, at[service], shown)(verb, url)
                row.append({401: ASKED, 403: DENIED}.get(answer.status, ALLOWED))
    return found


def render(found: Mapping[Endpoint, list[str]], kinds: list[str]) -> str:
    """The document."""
    lines = [
        "# Each endpoint, and who may use it",
        "",
        "Where [access](access.md) is set; written by `make access-table` from trying every cell, as",
        "`tests/wire/test_access_table.py` does. Rights and tokens are about the endpoint's repository.",
        "*log in*: 401 with a challenge, *no*: 403; *yes*: the service itself answers, be it with 404.",
        "`HEAD` is as `GET`; `any /v2/{rest}` tells that there is no such operation.",
        "",
        f"| service | endpoint | {' | '.join(kinds)} |",
        f"| --- | --- |{' --- |' * len(kinds)}",
    ]
    for (service, method, path), row in found.items():
        if method != "HEAD":
            lines.append(f"| {service} | `{method} {path}` | {' | '.join(row)} |")
    return "\n".join([*lines, ""])


class Seen(web.AppRunner):
    """Remembers the applications that were served, by the names of their services."""

    apps: ClassVar[list[web.Application]] = []

    def __init__(self, app: web.Application, **more: Any) -> None:
        self.apps.append(app)
        super().__init__(app, **more)


def proxy_and_agent() -> dict[str, web.Application]:
    """Of the applications that were served last, in the order in which a cluster starts them."""
    return {"proxy": Seen.apps[-2], "agent": Seen.apps[-1]}


async def written() -> str:
    """The document, from a cluster of its own."""
    web.AppRunner = Seen  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        async with guarded(Path(folder)) as cluster:
            key = Path(folder) / "data" / "token.key"
            every = endpoints(proxy_and_agent())
            return render(await tried(cluster, key, every), list(callers(key)))


if __name__ == "__main__":
    DOCUMENT.write_text(asyncio.run(written()))
