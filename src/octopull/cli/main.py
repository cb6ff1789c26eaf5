"""The command ``octopull``: verbs, and exit codes 0 (done), 1 (failed), 2 (misused)."""

import sys

import click

from octopull.cli.gc import gc
from octopull.cli.preheat import preheat
from octopull.cli.pull import pull
from octopull.cli.push import push
from octopull.cli.replay import replay
from octopull.cli.serve import SERVICES
from octopull.cli.sim import sim
from octopull.cli.status import status
from octopull.cli.up import up
from octopull.kernel.errors import Fault

EPILOG = """\b
Examples:
  octopull up                                  a whole cluster on this machine
  octopull push ./layout demo:v1               an OCI layout folder or tar into it
  octopull pull demo:v1 ./demo                 out of it, through the first agent
  octopull preheat demo:v1                     onto every host, before it is needed
  octopull gc --dry-run                        what no manifest refers to
  octopull agent --config agent.yaml           one service of a real cluster
  octopull sim --hosts 1000                    a swarm on virtual time
"""


@click.group(epilog=EPILOG)
@click.version_option(package_name="octopull")
def octopull() -> None:
    """A P2P-powered container registry: push once, pull on every host at its link's speed."""


for verb in (up, push, pull, preheat, gc, status, replay, sim, *SERVICES):
    octopull.add_command(verb)


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
