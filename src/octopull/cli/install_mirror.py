"""``octopull agent install-mirror``: the runtimes of this host pull through its agent."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from octopull.cli.mirrors.files import Edit, Files
from octopull.cli.mirrors.names import DOCKER_HUB, Agent, Registry
from octopull.cli.mirrors.runtimes import RUNTIMES, Plan

EPILOG = """\b
Examples:
  octopull agent install-mirror --containerd
  octopull agent install-mirror --containerd --registry docker.io --registry quay.io
  octopull agent install-mirror --podman --crio --own registry.example
  octopull agent install-mirror --docker --agent 127.0.0.1:6101 --dry-run
  octopull agent install-mirror --containerd --root ./image
  octopull agent install-mirror --containerd --remove
"""


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    """One flag per runtime, in their order."""
    for runtime in reversed(RUNTIMES):
        words = f"Writes {runtime.writes}."
        command = click.option(f"--{runtime.name}", is_flag=True, help=words)(command)
    return command


@click.command("install-mirror", epilog=EPILOG)
@_flags
@click.option("--agent", "address", default="127.0.0.1:5101", show_default=True,
              help="host:port; https://host:port if it speaks TLS.")  # fmt: skip
@click.option("--registry", "registries", multiple=True,
              help="A registry to ask the agent for first; may be given several times."
              f"  [default: {DOCKER_HUB}, or with --remove all]")  # fmt: skip
@click.option("--own", multiple=True,
              help="A registry name that the agent alone answers for; may be given several times.")  # fmt: skip
@click.option("--root", default="/", show_default=True,
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The folder that is / to the runtime: that of an image being built.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the change and write nothing.")
@click.option("--remove", is_flag=True, help="Take out what this command put in, and no more.")
def install_mirror(
    address: str, registries: tuple[str, ...], own: tuple[str, ...], root: Path, *,
    dry_run: bool, remove: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Let the container runtime of this host pull through the agent, or no longer.

    Shows what it changes as a diff. A file of others is kept as FILE.octopull-backup before its
    first change.
    """
    runtimes = [one for one in RUNTIMES if chosen[one.name]]
    if not runtimes:
        names = ", ".join(f"--{one.name}" for one in RUNTIMES)
        raise click.UsageError(f"name the runtime: one or more of {names}")
    agent = Agent.parse(address)
    named = dict.fromkeys([*map(Registry, registries), *(Registry(one, own=True) for one in own)])
    if len({one.name for one in named}) < len(named):
        raise click.UsageError("a registry is one of --registry or of --own, not both")
    files = Files(root)
    if remove:
        plans = [one.remove(files, agent, [registry.name for registry in named])
                 for one in runtimes]  # fmt: skip
    else:
        plans = [one.install(files, agent, list(named) or [Registry(DOCKER_HUB)])
                 for one in runtimes]  # fmt: skip
    _carry_out(plans, dry_run=dry_run)
    if agent.exposed and not remove:
        click.echo(f"note: what {agent.address} answers crosses the network in clear")


def _carry_out(plans: Sequence[Plan], *, dry_run: bool) -> None:
    """Show every edit, then make it; nothing is written before all plans are known to hold."""
    edits: dict[Path, Edit] = {edit.path: edit for plan in plans for edit in plan.edits}
    for edit in edits.values():
        click.echo(f"already so: {edit.path}" if edit.idle else edit.diff().rstrip("\n"))
    if not edits:
        click.echo("nothing of this command is there")
    if dry_run:
        click.echo("nothing was written: --dry-run")
    for edit in edits.values():
        if not (dry_run or edit.idle):
            click.echo("\n".join(edit.apply()))
    for plan in plans:
        changed = not all(edit.idle for edit in plan.edits)
        for line in [*([plan.reload] if changed else []), *plan.notes]:
            click.echo(f"note: {line}")
