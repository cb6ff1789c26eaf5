"""What the verbs that run a service have in common: a config file, signals, logs."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from octopull.config import load
from octopull.config.services import LOOPBACK, Listen
from octopull.config.tls import Clients
from octopull.http.serving import Listening
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.runtime.files import raise_file_limit

Run = Callable[[Any, Callable[[Listening], None], asyncio.Event], Awaitable[None]]

PLAIN = (
    "this service and the others speak in clear, and do what anybody asks who reaches their ports: "
    "see docs/tls.md"
)


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


def warn_of_open_doors(name: str, config: object) -> None:
    """Say once, loudly, that whoever comes may do as they like, where nothing else was set."""
    log, admin = logs.get(name), getattr(config, "admin", None)
    if getattr(config, "access", config) is None:
        log.warning("access.open", reason=f"whoever reaches {name} may use it: set {name}.access")
    if isinstance(admin, Listen) and not _is_guarded(admin):
        log.warning("admin.open", reason="whoever reaches the admin port may use it",
                    host=admin.host)  # fmt: skip


def _is_guarded(admin: Listen) -> bool:
    shown = admin.tls is not None and admin.tls.clients is Clients.REQUIRED
    return shown or admin.host in {LOOPBACK, "::1", "localhost"}


async def _serve(run: Run, config: object) -> None:
    raise_file_limit()
    stop = stop_on_signals()

    def started(listening: Listening) -> None:
        click.echo(f"{listening.service} listens on {listening.address}")

    await run(config, started, stop)


def service(
    name: str, shape: type[Any], run: Run, purpose: str, *verbs: click.Command
) -> click.Command:
    """The verb that runs a service; ``verbs`` stand behind it and take no config."""
    section = name.replace("-", "_")

    @click.option(
        "--config", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=not verbs, help=f"YAML file with a section '{section}'.",
    )  # fmt: skip
    @click.option("--log-level", default="info", show_default=True,
                  type=click.Choice(["debug", "info", "warning", "error"]))  # fmt: skip
    @click.option("--log-format", default="json", show_default=True,
                  type=click.Choice([form.value for form in LogFormat]))  # fmt: skip
    @click.pass_context
    def command(context: click.Context, path: Path | None, log_level: str, log_format: str) -> None:
        if context.invoked_subcommand is not None:
            if path is not None:
                raise click.UsageError(f"{context.invoked_subcommand} takes no --config")
            return
        if path is None:
            config = next(one for one in context.command.params if one.name == "path")
            raise click.MissingParameter(ctx=context, param=config)
        logs.configure(log_level, LogFormat(log_format))
        config = load.load(shape, section, load.read(path), os.environ)
        if config.tls is None:
            logs.get(section).warning("tls.absent", warning=PLAIN)
        warn_of_open_doors(section, config)
        asyncio.run(_serve(run, config))

    epilog = f"""Example: octopull {name} --config {section}.yaml

    Lists of hosts may name dns://name:port and srv://_service._tcp.name, which are looked up
    again and again: docs/cluster.md."""
    if not verbs:
        return click.command(name, help=purpose, epilog=epilog)(command)
    group = click.group(name, invoke_without_command=True, help=purpose, epilog=epilog,
                        subcommand_metavar="[COMMAND]")(command)  # fmt: skip
    for verb in verbs:
        group.add_command(verb)
    return group
