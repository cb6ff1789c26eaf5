"""The command ``octopull``: verbs, and exit codes 0 (done), 1 (failed), 2 (misused)."""

import sys
from importlib import import_module
from pathlib import Path

import click

from octopull.kernel.errors import Fault

VERBS = (
    "agent", "certs", "gc", "origin", "policy", "preheat", "proxy", "pull", "push", "quotas", "replay",
    "replicate", "sim", "status", "tag-index", "tracker", "up",
)  # fmt: skip
"""Each is a module of this package, and the command of that name in it."""

EPILOG = """\b
Examples:
  octopull up                                  a whole cluster on this machine
  octopull push ./layout demo:v1               an OCI layout folder or tar into it
  octopull pull demo:v1 ./demo                 out of it, through the first agent
  octopull preheat demo:v1                     onto every host, before it is needed
  octopull certs init                          an authority, for TLS among all services
  octopull --tls certs/operator-alice.pem status  of a cluster that speaks it
  octopull gc --dry-run                        what no manifest refers to
  octopull policy check alice push team/app --policy policy.yaml
                                               whether she may, and why
  octopull quotas                              how much namespaces may hold, and do
  octopull replicate --reconcile eu            another cluster as this one is
  octopull agent --config agent.yaml           one service of a real cluster
  octopull sim --hosts 1000                    a swarm on virtual time
"""


class Verbs(click.Group):
    """Imports a verb when it is asked for: an agent has no need of the simulator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return verb(cmd_name) if cmd_name in VERBS else None


def verb(name: str) -> click.Command:
    """The command of one of ``VERBS``."""
    name = name.replace("-", "_")
    command = getattr(import_module(f"octopull.cli.{name}"), name)
    assert isinstance(command, click.Command)
    return command


@click.group(cls=Verbs, epilog=EPILOG)
@click.version_option(package_name="octopull")
@click.option("--tls", envvar="OCTOPULL_TLS", metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="An operator's certificate, with its key and authority.pem beside it "
                   "(octopull certs), for a cluster that speaks TLS.")  # fmt: skip
def octopull(tls: Path | None) -> None:
    """A P2P-powered container registry: push once, pull on every host at its link's speed."""
    del tls  # Found where a command calls a cluster (cli/calling.py).


def main() -> None:
    """Entry point: faults become one clear line."""
    try:
        octopull.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Fault as fault:
        _fail(str(fault))
    except BaseExceptionGroup as group:
        faults, others = group.split(Fault)
        if others is not None or faults is None:
            raise
        _fail(str(_first(faults)))


def _first(group: BaseExceptionGroup[Fault]) -> BaseException:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def _fail(reason: str) -> None:
    click.echo(f"octopull: {reason}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
