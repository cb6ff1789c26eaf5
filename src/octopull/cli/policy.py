"""``octopull policy check``: whether rules allow something, and which rule it is."""

from pathlib import Path

import click

from octopull.config import load
from octopull.kernel import names
from octopull.kernel.errors import Fault, Misuse
from octopull.registry.access import access
from octopull.security.callers import Caller
from octopull.security.followed import Beside
from octopull.security.policy import EVERYTHING, Action, Policy

EPILOG = """\b
Examples:
  octopull policy check alice push team/app --policy policy.yaml
  octopull policy check alice pull team/app --group staff --config proxy.yaml
  octopull policy check anyone pull public/base --policy policy.yaml
  octopull policy check github:alice push acme/app --claim github:repository=acme/app
  octopull policy check anyone push team/app --certificate ci.build.internal
"""


@click.group()
def policy() -> None:
    """Ask the file of rules that says who may do what."""


@policy.command(epilog=EPILOG)
@click.argument("user")
@click.argument("action", type=click.Choice([one.value for one in Action]))
@click.argument("repository")
@click.option("--policy", "rules", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The file of rules.")  # fmt: skip
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The configuration of a proxy or agent, which names the file of rules.")  # fmt: skip
@click.option("--group", "groups", multiple=True, help="A group the user is in; repeatable.")
@click.option("--claim", "claims", multiple=True, metavar="ISSUER:NAME=VALUE",
              help="What an issuer's token says of the user; repeatable.")  # fmt: skip
@click.option("--certificate", "certificates", multiple=True,
              help="A name in the certificate that is shown; repeatable.")  # fmt: skip
def check(
    user: str, action: str, repository: str, rules: Path | None, config: Path | None,
    groups: tuple[str, ...], claims: tuple[str, ...], certificates: tuple[str, ...],
) -> None:  # fmt: skip
    """Say whether USER may do ACTION to REPOSITORY, and which rule says so.

    USER is a name, or "anyone" for who is not logged in. REPOSITORY may be "*": what is about
    all of them. Ends with 1 if it is not allowed.
    """
    if repository != EVERYTHING:
        names.namespace(repository)
    caller = Caller(
        name="" if user == "anyone" else user,
        groups=frozenset(groups),
        claims=_claims(claims),
        certificates=certificates,
    )
    found = _policy(rules, config)
    decision = found.decide(caller, Action(action), repository)
    of = ", ".join(sorted(found.groups(caller))) or "none"
    click.echo(f"{'allowed' if decision.allowed else 'denied'}: {decision.reason}")
    click.echo(f"  {user} {action} {repository}; groups: {of}")
    if not decision.allowed:
        raise SystemExit(1)
    if Action(action) is Action.PULL:
        for demand in found.signatures.of(repository).demands:
            keys = " or ".join(key.name for key in demand.keys)
            click.echo(f"  only what is signed: {demand} demands it, by {keys}")


def _claims(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or ":" not in name:
            raise click.BadParameter("ISSUER:NAME=VALUE", param_hint="--claim")
        found[name] = (*found.get(name, ()), value)
    return found


def _policy(rules: Path | None, config: Path | None) -> Policy:
    if (rules is None) == (config is None):
        raise click.UsageError("either --policy or --config")
    if rules is None:
        assert config is not None
        rules = _named(config)
    try:
        return access.policy(rules.read_bytes(), Beside(str(rules)).read)
    except OSError as error:
        raise Misuse(f"{rules}: {error.strerror}") from error
    except Fault as fault:
        raise Misuse(f"{rules}: {fault}") from fault


def _named(config: Path) -> Path:
    """The file of rules that a configuration names."""
    document = load.read(config)
    for section in document.values():
        settings = section.get("access") if isinstance(section, dict) else None
        if isinstance(settings, dict) and settings.get("policy"):
            return Path(str(settings["policy"]))
    raise Misuse(f"{config}: no section has an access with a policy")
