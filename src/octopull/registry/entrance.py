"""What a request goes through at proxy and agent before it comes to its handler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from octopull.clients.tag_index import TagIndex
from octopull.config.services import AgentConfig, ProxyConfig
from octopull.config.upstreams import names_of
from octopull.registry.access.admin_port import apart
from octopull.registry.access.fetched_signatures import Read
from octopull.registry.access.private import Private, guarded
from octopull.registry.limits import Limits
from octopull.registry.pull_through import naming


@asynccontextmanager
async def entered(
    app: web.Application, config: ProxyConfig | AgentConfig, tags: TagIndex, read: Read, service: str,
) -> AsyncIterator[tuple[Private | None, Limits]]:  # fmt: skip
    """Names of upstreams, the port for administrators, shares, and the door, before all routes of ``app``.

    Yields what handlers ask of the door, None if all is open; and of shares. ``read`` gets the
    manifests and blobs that they must know beside what they serve.

    Raises:
        Misuse: as ``guarded``.

    """
    if upstreams := names_of(config.upstreams):
        app.middlewares.append(naming(upstreams))
    if config.admin is not None:
        app.middlewares.append(apart())
    limits = Limits(config.limits, service)
    app.middlewares.append(limits.by_address())
    async with guarded(app, config.access, tags, read, service) as private:
        app.middlewares.append(limits.by_caller())
        yield private, limits
