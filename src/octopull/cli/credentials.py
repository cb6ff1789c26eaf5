"""The option that says who a command is to a registry."""

import click

from octopull.clients.registry_login import own_logins

credentials_option = click.option(
    "--credentials", default=own_logins, metavar="FILE",
    help="user:password, or logins as docker and podman keep them; by default theirs.",
)  # fmt: skip
