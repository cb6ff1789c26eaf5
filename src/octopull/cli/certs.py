"""``octopull certs``: an authority of the cluster's own, and certificates for its hosts."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from octopull.cli.quantities import Duration
from octopull.security.lifetimes import DAY_S, Stage, left_words, stage
from octopull.security.roles import Role

if TYPE_CHECKING:
    from octopull.cli.certificate_folder import CertificateFolder, Leaf
    from octopull.security.authority import Certificate

EPILOG = """\b
From nothing to certificates for a cluster:
  octopull certs init                                        an authority, in ./certs
  octopull certs issue origin origin-1.example 10.0.0.5      for each host, with its names
  octopull certs issue operator alice                        for whoever runs octopull's commands
  octopull certs show                                        who, for what, until when
  octopull certs rotate                                      from cron: what ends within 30 days
"""
LIFE_S, AUTHORITY_LIFE_S, DUE_S = 90.0 * DAY_S, 3650.0 * DAY_S, 30.0 * DAY_S

_folder = click.option(
    "--folder", default="certs", show_default=True, help="Where certificates are kept.",
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip
_force = click.option("--force", is_flag=True, help="Replace what is there.")


def _life(default_s: float) -> Callable[[Any], Any]:
    days = f"{default_s / DAY_S:.0f}d"
    return click.option("--for", "life_s", type=Duration(), default=days, show_default=True,
                        help="How long it counts.")  # fmt: skip


def _opened(folder: Path) -> "CertificateFolder":
    """Imported when it is asked for: it needs ``cryptography``, which few hosts have."""
    from octopull.cli.certificate_folder import CertificateFolder

    return CertificateFolder(folder)


@click.group(epilog=EPILOG)
def certs() -> None:
    """Make, renew and look at the certificates by which a cluster's hosts know each other."""


@certs.command(epilog="Example: octopull certs init --folder /etc/octopull/certs")
@_folder
@_life(AUTHORITY_LIFE_S)
@_force
def init(folder: Path, life_s: float, *, force: bool) -> None:
    """Make the cluster's authority: a certificate that every host gets, and a key that stays."""
    made = _opened(folder).init(timedelta(seconds=life_s), force=force)
    click.echo(f"{folder}/authority.pem: the authority until {made.not_valid_after_utc:%Y-%m-%d}; "
               f"every host needs it\n{folder}/authority.key: its key; keep it here, and a copy "
               "in a safe place")  # fmt: skip


@certs.command(epilog="Example: octopull certs issue origin origin-1.example 10.0.0.5")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_folder
@_life(LIFE_S)
@_force
def issue(role: str, names: tuple[str, ...], folder: Path, life_s: float, *, force: bool) -> None:
    """Make a certificate and key for a host.

    NAMEs are host names and addresses at which others reach it, as configurations write them.
    """
    from octopull.security.authority import Holder

    opened = _opened(folder)
    path = opened.issue(Holder(Role(role), names), timedelta(seconds=life_s), force=force)
    click.echo(f"{path} and {path.with_suffix('.key').name}: {role} {', '.join(names)}")


@certs.command(epilog="Example: octopull certs rotate --within 30d")
@_folder
@click.option("--within", "due_s", type=Duration(), default="30d", show_default=True,
              help="Renew what ends this soon.")  # fmt: skip
@_life(LIFE_S)
@click.option("--all", "everything", is_flag=True, help="Renew all, however long they last.")
@click.option("--authority", "roll", is_flag=True,
              help="First step of changing the authority: a new one beside the old. Bring "
                   "authority.pem to every host, then rotate --all.")  # fmt: skip
@click.option("--drop-old", "retire", is_flag=True,
              help="Last step: old authorities count no more.")  # fmt: skip
def rotate(
    folder: Path, due_s: float, life_s: float, *, everything: bool, roll: bool, retire: bool
) -> None:
    """Renew certificates that end soon, in place; running services take the new ones.

    Their names stay, their keys are new. Nothing else in the folder is touched.
    """
    opened = _opened(folder)
    if roll + retire + everything > 1:
        raise click.UsageError("one of --authority, --all and --drop-old at a time")
    if roll:
        made = opened.roll(timedelta(seconds=AUTHORITY_LIFE_S))
        click.echo(f"{opened.authority_path}: {_common(made)}, and those before it. Bring this "
                   "file to every host; then: octopull certs rotate --all")  # fmt: skip
    elif retire:
        for old in opened.retire():
            click.echo(f"{_common(old)} counts no more")
        click.echo(f"bring {opened.authority_path} to every host")
    else:
        from octopull.security.authority import now

        before = None if everything else now() + timedelta(seconds=due_s)
        for leaf in opened.renew(before, timedelta(seconds=life_s)):
            click.echo(f"renewed {leaf.path}, which {_left(leaf.certificate)}")


@certs.command(epilog="Example: octopull certs show --within 14d || mail -s certificates ops")
@_folder
@click.option("--within", "due_s", type=Duration(), default="0s",
              help="Exit with 1 for what ends this soon, too.")  # fmt: skip
def show(folder: Path, due_s: float) -> None:
    """Say who has a certificate, for what, and until when; exit with 1 if one has expired."""
    opened = _opened(folder)
    table, wrong = Table("file", "of", "names", "authority", "state"), 0
    for authority in opened.authorities():
        wrong += _left_s(authority) <= due_s
        table.add_row("authority.pem", _common(authority), "", "itself", _left(authority))
    for leaf in opened.leaves():
        told = _trouble(opened, leaf) or _left(leaf.certificate)
        wrong += told != _left(leaf.certificate) or _left_s(leaf.certificate) <= due_s
        table.add_row(*_row(opened, leaf), told)
    Console(width=None if Console().is_terminal else 200).print(table)
    if wrong:
        raise SystemExit(1)


def _row(folder: "CertificateFolder", leaf: "Leaf") -> list[str]:
    from octopull.security.authority import signer_of

    signer = signer_of(leaf.certificate, folder.authorities())
    holder = f"{leaf.holder.role} {leaf.holder.names[0]}" if leaf.holder else "others' work"
    names = ", ".join(leaf.holder.names) if leaf.holder else ""
    return [leaf.path.name, holder, names, _common(signer) if signer else "unknown"]


def _trouble(folder: "CertificateFolder", leaf: "Leaf") -> str:
    """What is wrong with it besides its time; empty if nothing is."""
    from octopull.security.authority import signer_of

    if stage(_left_s(leaf.certificate)) is Stage.OVER:
        return ""
    if signer_of(leaf.certificate, folder.authorities()) is None:
        return "not of an authority in authority.pem"
    return "" if leaf.paired else f"{leaf.key_path.name} is not its key"


def _common(certificate: "Certificate") -> str:
    return certificate.subject.rfc4514_string().removeprefix("CN=")


def _left_s(certificate: "Certificate") -> float:
    from octopull.security.authority import now

    return (certificate.not_valid_after_utc - now()).total_seconds()


def _left(certificate: "Certificate") -> str:
    return f"{left_words(_left_s(certificate))} ({certificate.not_valid_after_utc:%Y-%m-%d})"
