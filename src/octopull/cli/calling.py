"""How commands speak to a cluster: in clear, or as the operator whose certificate ``--tls`` names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from octopull.config.tls import ClusterTls
from octopull.http.client import Http, among_services
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.security.roles import Role

AUTHORITY = "authority.pem"


@asynccontextmanager
async def calling() -> AsyncIterator[Http]:
    """A client for one command.

    Raises:
        Misuse: the files of ``--tls`` are wrong.

    """
    context = click.get_current_context(silent=True)
    path = None if context is None else context.find_root().params.get("tls")
    if path is not None:
        # What is wrong with certificates is said there, and is no part of an answer.
        logs.configure("warning", LogFormat.TEXT)
    async with among_services(Role.OPERATOR, _files(path)) as (_, http):
        yield http


def _files(path: Path | None) -> ClusterTls | None:
    if path is None:
        return None
    return ClusterTls(
        authority=str(path.with_name(AUTHORITY)), certificate=str(path),
        key=str(path.with_suffix(".key")),
    )  # fmt: skip
