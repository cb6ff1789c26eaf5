"""dockerd's ``daemon.json``: an agent among its ``registry-mirrors``, the rest untouched.

JSON has no comments to mark what is ours, so each form that ``install`` gives is one that it
gives for no other text, and ``remove`` knows it again: the text comes back byte for byte.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from octopull.cli.mirrors.names import Agent
from octopull.kernel.errors import Misuse

KEY = "registry-mirrors"
_BLANK = " \t\n\r"
_SPACE = re.compile(f"[{_BLANK}]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Part:
    """A member of an object, or an element of an array: ``text[start:end]``."""

    start: int
    value_start: int
    end: int
    key: str
    value: Any


def install(text: str, agent: Agent) -> str:
    """``text`` with ``agent`` as the first mirror; the same text if it is one already.

    Raises:
        Misuse: it is no JSON object, or its mirrors are no list of texts.

    """
    if not text.strip(_BLANK):
        return text + _whole(agent)
    start, mirrors = _mirrors(text)
    if mirrors is None:
        rest = f"\n  {_member(agent)}," if _parts(text, start) else _member(agent)
        return text[: start + 1] + rest + text[start + 1 :]
    elements = _parts(text, mirrors.value_start)
    if any(_is(one, agent) for one in elements):
        return text
    if elements:
        at, new = elements[0].start, f'"{agent.url}", '
    else:
        at, new = mirrors.value_start + 1, f'"{agent.url}"'
    return text[:at] + new + text[at:]


def remove(text: str, agent: Agent) -> str:
    """``text`` without ``agent`` among the mirrors; blank if nothing was there before it.

    Raises:
        Misuse: as ``install``.

    """
    if text.lstrip(_BLANK) in ("", _whole(agent)):
        return text.removesuffix(_whole(agent))
    start, mirrors = _mirrors(text)
    for member in (f"\n  {_member(agent)},", _member(agent)):
        if text.startswith(member, start + 1):
            return text[: start + 1] + text[start + 1 + len(member) :]
    elements = [] if mirrors is None else _parts(text, mirrors.value_start)
    for number, one in enumerate(elements):
        if _is(one, agent):
            return _cut(text, elements, number)
    return text


def _whole(agent: Agent) -> str:
    return f"{{\n  {_member(agent)}\n}}\n"


def _member(agent: Agent) -> str:
    return f'"{KEY}": [\n    "{agent.url}"\n  ]'


def _is(element: _Part, agent: Agent) -> bool:
    return bool(str(element.value).removesuffix("/") == agent.url)


def _cut(text: str, elements: list[_Part], number: int) -> str:
    """``text`` without one element and the comma that goes with it."""
    one = elements[number]
    if number + 1 < len(elements):
        return text[: one.start] + text[elements[number + 1].start :]
    start = elements[number - 1].end if number else one.start
    return text[:start] + text[one.end :]


def _mirrors(text: str) -> tuple[int, _Part | None]:
    """Where the object opens, and the member ``KEY`` if it has one."""
    start = _skip(text, 0)
    try:
        # Stricter than the standard library, as dockerd is: RFC 8259, no NaN, no lone surrogate.
        mirrors = msgspec.json.decode(text, type=dict[str, Any]).get(KEY, [])
        found = [one for one in _parts(text, start) if one.key == KEY]
    except (ValueError, RecursionError) as error:
        raise Misuse(f"it is no JSON object: {error}") from error
    if len(found) > 1:
        raise Misuse(f"it has {KEY} {len(found)} times")
    if not isinstance(mirrors, list) or not all(isinstance(url, str) for url in mirrors):
        raise Misuse(f"its {KEY} is no list of texts")
    return start, found[0] if found else None


def _parts(text: str, opening: int) -> list[_Part]:
    """What is inside the object or array that opens at ``opening``, in a document known valid."""
    found: list[_Part] = []
    at = _skip(text, opening + 1)
    while text[at] not in "]}":
        start, key = at, ""
        if text[opening] == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + len(":"))
        value, end = _DECODER.raw_decode(text, at)
        found.append(_Part(start, at, end, key, value))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
