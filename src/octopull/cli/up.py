"""``octopull up``: a working cluster in one command."""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from octopull.cli import embedded_access
from octopull.cli.cluster import AGENTS_MAX, Cluster, Ports, running
from octopull.cli.guide import guide
from octopull.cli.serve import stop_on_signals
from octopull.config.backends import BackendSettings
from octopull.config.quotas import QuotaFileSettings
from octopull.config.replication import ReplicationSettings
from octopull.config.upstreams import UpstreamSettings, names_of
from octopull.kernel.errors import Misuse
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.runtime.files import raise_file_limit

if TYPE_CHECKING:
    from octopull.cli.own_certificates import OwnCertificates

EPILOG = """Examples: octopull up --agents 3 --data ./octopull-data;
octopull up --upstream docker.io=https://registry-1.docker.io;
octopull up --backend file:///srv/images;
octopull up --replication rules.yaml; octopull up --access access.yaml; octopull up --tls;
octopull up --backend s3://bucket/images --backend-option region=eu-west-1 --credentials s3.env"""


@click.command(epilog=EPILOG)
@click.option("--agents", default=3, show_default=True, type=click.IntRange(0, AGENTS_MAX),
              help="Agents to run, each as if on a host of its own.")  # fmt: skip
@click.option("--data", default="octopull-data", show_default=True,
              type=click.Path(file_okay=False, path_type=Path),
              help="Folder for blobs and tags; kept for the next start.")  # fmt: skip
@click.option("--port-base", default=5000, show_default=True, type=click.IntRange(0, 65000),
              help="The proxy's port; the others follow above it. 0: any free ports.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the addresses here, as JSON, once all services listen.")  # fmt: skip
@click.option("--upstream", "upstreams", multiple=True, metavar="NAME=URL",
              help="Fetch images NAME/... from this registry when they are asked for; repeatable.")  # fmt: skip
@click.option("--upstream-credentials", default="", metavar="FILE",
              help="user:password, or docker's config.json; for all upstreams.")  # fmt: skip
@click.option("--backend", default="", metavar="URL",
              help="Write blobs and tags there, and read what this cluster lacks: file://, s3://, "
                   "gs://, az://, hdfs://, https:// or registry+https://.")  # fmt: skip
@click.option("--backend-option", "backend_options", multiple=True, metavar="NAME=VALUE",
              help="For the backend's client, such as endpoint or region; repeatable.")  # fmt: skip
@click.option("--credentials", default="", metavar="FILE",
              help="What the backend's client needs; without it, the environment.")  # fmt: skip
@click.option("--replication", "rules", default="", metavar="FILE",
              help="Rules by which images go to other clusters or registries "
                   "(docs/replication.md).")  # fmt: skip
@click.option("--tls", "secure", is_flag=True,
              help="Speak TLS, by an authority and certificates that are made in the data folder "
                   "(docs/tls.md).")  # fmt: skip
@click.option("--access", "access", default=None,
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file whose section 'access' says who may do what (docs/access.md).")  # fmt: skip
@click.option("--quotas", "quotas", default="", metavar="FILE",
              help="How much namespaces may hold (docs/limits.md).")  # fmt: skip
@click.option("--log-level", default="warning", show_default=True,
              type=click.Choice(["debug", "info", "warning", "error"]))  # fmt: skip
def up(
    agents: int, data: Path, port_base: int, host: str, ready_file: Path | None,
    upstreams: tuple[str, ...], upstream_credentials: str, backend: str,
    backend_options: tuple[str, ...], credentials: str, rules: str, access: Path | None,
    quotas: str, log_level: str, *, secure: bool,
) -> None:  # fmt: skip
    """Run a whole cluster on this machine: proxy, tag index, tracker, origin and agents."""
    logs.configure(log_level, LogFormat.TEXT)
    store = _backend(backend, backend_options, credentials)
    cluster = running(
        data, agents, Ports(port_base, host), _upstreams(upstreams, upstream_credentials), store,
        ReplicationSettings(rules=rules), None if access is None else embedded_access.read(access),
        _certificates(data, host) if secure else None, QuotaFileSettings(file=quotas),
    )  # fmt: skip
    asyncio.run(_up(cluster, data, ready_file, store, is_open=access is None))


def _certificates(data: Path, host: str) -> "OwnCertificates":
    """Imported when it is asked for: it needs ``cryptography``."""
    from octopull.cli.own_certificates import OwnCertificates

    own = OwnCertificates(data / "tls", host)
    own.make()
    return own


def _upstreams(upstreams: Sequence[str], credentials: str) -> list[UpstreamSettings]:
    pairs = [one.partition("=") for one in upstreams]
    try:
        settings = [
            UpstreamSettings(name=name, url=url, credentials=credentials) for name, _, url in pairs
        ]
        names_of(settings)
    except Misuse as fault:
        raise click.BadParameter(str(fault), param_hint="--upstream") from fault
    return settings


def _backend(url: str, options: Sequence[str], credentials: str) -> BackendSettings | None:
    if not url:
        if options or credentials:
            raise click.UsageError("--backend-option and --credentials are about a --backend")
        return None
    pairs = [one.partition("=") for one in options]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.BadParameter("NAME=VALUE", param_hint="--backend-option")
    try:
        return BackendSettings(
            url=url, options={name: value for name, _, value in pairs}, credentials=credentials
        )
    except Misuse as fault:
        raise click.BadParameter(str(fault), param_hint="--backend") from fault


async def _up(
    starting: AbstractAsyncContextManager[Cluster], data: Path, ready_file: Path | None,
    backend: BackendSettings | None, *, is_open: bool,
) -> None:  # fmt: skip
    raise_file_limit()
    stop = stop_on_signals()
    async with starting as cluster:
        if ready_file is not None:
            partial = ready_file.with_name(f"{ready_file.name}.new")
            document = {"pid": os.getpid(), **cluster.document()}
            partial.write_text(json.dumps(document, indent=2))
            partial.replace(ready_file)
        click.echo(guide(cluster, data, backend, is_open=is_open))
        await stop.wait()
        click.echo("stopping ...")
    click.echo(f"stopped; data stays in {data}")
