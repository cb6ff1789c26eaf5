"""containerd's ``hosts.toml``: whom it asks for one registry, in which order (docs/hosts.md).

Hosts are asked in the order of their tables, and ``server`` last. So our table goes before the
first one, where keys of the document itself may still stand.
"""

import re
from itertools import islice
from typing import Any

from octopull.cli.mirrors import blocks, toml
from octopull.cli.mirrors.names import Agent, Registry
from octopull.kernel.errors import Misuse

CAPABILITIES = ["pull", "resolve"]
PLACES_MAX = 100
"""Lines that look like the first table and are not, in strings and arrays, before we give up."""

_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


def install(text: str, registry: Registry, agent: Agent) -> str:
    """``text`` so that containerd asks ``agent`` first; the same text if it does already.

    Raises:
        Misuse: it is no TOML, or says something else of the agent, or has no place for it.

    """
    foreign = blocks.remove(text, registry.name)
    there = toml.parse(foreign)
    said = toml.table(there, "host").get(agent.url)
    if said is not None:
        if _suits(said):
            return text
        raise Misuse(f"it asks {agent.url}, and not both to pull and to resolve")
    return _insert(foreign, there, registry, agent)


def remove(text: str, name: str) -> str:
    """``text`` without what ``install`` added for the registry ``name``.

    Raises:
        Misuse: our part is damaged.

    """
    return blocks.remove(text, name)


def server(text: str) -> str | None:
    """Whom containerd asks last, if it is told.

    Raises:
        Misuse: it is no TOML.

    """
    said = toml.parse(text).get("server")
    return said if isinstance(said, str) else None


def _insert(foreign: str, there: dict[str, Any], registry: Registry, agent: Agent) -> str:
    body = f'[host."{agent.url}"]\ncapabilities = ["pull", "resolve"]\n'
    expected = {**there, "host": {agent.url: {"capabilities": CAPABILITIES}}}
    expected["host"].update(toml.table(there, "host"))
    if "server" not in there and (registry.own or not there):
        expected["server"] = agent.url if registry.own else registry.upstream
        body = f'server = "{expected["server"]}"\n\n{body}'
    places = [found.start() for found in islice(_TABLE.finditer(foreign), PLACES_MAX)]
    for at in [*places, len(foreign)]:
        text = blocks.insert(foreign, at, registry.name, body)
        if _says(text, expected):
            return text
    raise Misuse(f"there is no place for a host before the others; add by hand:\n{body}")


def _says(text: str, expected: dict[str, Any]) -> bool:
    """Whether ``text`` says exactly this, its first host first."""
    try:
        said = toml.parse(text)
    except Misuse:
        return False
    # Not equal by order: of the hosts, the first alone is ours to place.
    return said == expected and next(iter(said["host"])) == next(iter(expected["host"]))


def _suits(said: object) -> bool:
    """Whether a host's table lets it pull and resolve; without a word it may do all."""
    if not isinstance(said, dict):
        return False
    may = said.get("capabilities", CAPABILITIES)
    return isinstance(may, list) and all(word in may for word in CAPABILITIES)
