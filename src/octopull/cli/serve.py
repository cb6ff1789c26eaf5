"""The verbs that run one service each, from a config file."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from octopull.config import load
from octopull.config.services import (
    AgentConfig,
    OriginConfig,
    ProxyConfig,
    TagIndexConfig,
    TrackerConfig,
)  # fmt: skip
from octopull.http.serving import Listening
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.runtime.files import raise_file_limit
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from octopull.services.tracker.app import run as run_tracker

Run = Callable[[Any, Callable[[Listening], None], asyncio.Event], Awaitable[None]]


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT or SIGTERM sets; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    return stop


async def _serve(run: Run, config: object) -> None:
    raise_file_limit()
    stop = stop_on_signals()

    def started(listening: Listening) -> None:
        click.echo(f"{listening.service} listens on {listening.address}")

    await run(config, started, stop)


def _command(name: str, section: str, shape: type[Any], run: Run, purpose: str) -> click.Command:
    @click.option(
        "--config", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True, help=f"YAML file with a section '{section}'.",
    )  # fmt: skip
    @click.option("--log-level", default="info", show_default=True,
                  type=click.Choice(["debug", "info", "warning", "error"]))  # fmt: skip
    @click.option("--log-format", default="json", show_default=True,
                  type=click.Choice([form.value for form in LogFormat]))  # fmt: skip
    def command(path: Path, log_level: str, log_format: str) -> None:
        logs.configure(log_level, LogFormat(log_format))
        config = load.load(shape, section, load.read(path), os.environ)
        asyncio.run(_serve(run, config))

    epilog = f"Example: octopull {name} --config {section}.yaml"
    return click.command(name, help=purpose, epilog=epilog)(command)


SERVICES = [
    _command("agent", "agent", AgentConfig, run_agent,
             "Run an agent: the pull API of one host, fed by the swarm."),
    _command("origin", "origin", OriginConfig, run_origin,
             "Run an origin: durable blobs, their metainfo, and seeds."),
    _command("tracker", "tracker", TrackerConfig, run_tracker,
             "Run a tracker: who has what."),
    _command("tag-index", "tag_index", TagIndexConfig, run_tag_index,
             "Run a tag index: tag to manifest digest."),
    _command("proxy", "proxy", ProxyConfig, run_proxy,
             "Run a proxy: the OCI push and pull API in front of a cluster."),
]  # fmt: skip
