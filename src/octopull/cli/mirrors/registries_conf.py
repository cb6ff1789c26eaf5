"""A drop-in of ``/etc/containers/registries.conf.d``, which podman, buildah, skopeo and CRI-O read.

Of two tables with one prefix the later file's counts alone, whole
(containers-registries.conf.d(5)), so a registry that another file speaks of is not ours to add.
"""

from octopull.cli.mirrors import blocks, toml
from octopull.cli.mirrors.names import Agent, Registry
from octopull.kernel.errors import Misuse


def install(text: str, registry: Registry, agent: Agent) -> str:
    """``text`` with a table for ``registry`` that asks ``agent`` first.

    Raises:
        Misuse: it is no TOML of this form, or has a table of the registry that is not ours.

    """
    foreign = blocks.remove(text, registry.name)
    others = prefixes(foreign)
    if registry.name in others:
        raise Misuse(refusal(registry, agent))
    at, _ = blocks.spans(text).get(registry.name, (len(foreign), 0))
    changed = blocks.insert(foreign, at, registry.name, _table(registry, agent))
    try:
        fits = sorted(prefixes(changed)) == sorted([*others, registry.name])
    except Misuse:
        fits = False
    if not fits:
        raise Misuse("it leaves no place for a [[registry]] table")
    return changed


def remove(text: str, name: str) -> str:
    """``text`` without what ``install`` added for the registry ``name``.

    Raises:
        Misuse: our part is damaged.

    """
    return blocks.remove(text, name)


def prefixes(text: str) -> list[str]:
    """The registries, or parts of them, that ``text`` has tables for.

    Raises:
        Misuse: it is no TOML of this form.

    """
    tables = toml.parse(text).get("registry", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise Misuse("its 'registry' is no list of tables")
    return [str(one.get("prefix") or one.get("location", "")) for one in tables]


def refusal(registry: Registry, agent: Agent) -> str:
    """Why a table of someone else stands in the way, and what to do."""
    if registry.own:
        return (
            f"it has a [[registry]] for {registry.name} already, which ours would replace:"
            f" take it out, or give it location = {agent.address!r}"
        )
    return (
        f"it has a [[registry]] for {registry.name} already, which ours would replace:"
        f" take it out, or add below it\n{_mirror(agent)}"
    )


def _table(registry: Registry, agent: Agent) -> str:
    head = f'[[registry]]\nprefix = "{registry.name}"\n'
    if registry.own:
        return f'{head}location = "{agent.address}"\n{_insecure(agent)}'
    return f'{head}location = "{registry.name}"\n\n{_mirror(agent)}'


def _mirror(agent: Agent) -> str:
    return f'[[registry.mirror]]\nlocation = "{agent.address}"\n{_insecure(agent)}'


def _insecure(agent: Agent) -> str:
    return "insecure = true\n" if agent.insecure else ""
