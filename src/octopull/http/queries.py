"""Parameters of requests."""

import math

from aiohttp import web

from octopull.kernel.errors import Misuse


def seconds(request: web.Request, name: str, default: float, most_s: float = math.inf) -> float:
    """The parameter ``name``, in 0..``most_s`` seconds.

    Raises:
        Misuse: it is something else.

    """
    try:
        value = float(request.query.get(name, default))
    except ValueError:
        value = math.nan
    if not 0 <= value <= most_s:
        raise Misuse(f"{name} is a number of seconds")
    return value


def number(
    request: web.Request, name: str, default: int, most: int = 10**9, *, least: int = 0
) -> int:
    """The parameter ``name``, a whole number in ``least``..``most``.

    Raises:
        Misuse: it is something else.

    """
    text = request.query.get(name, str(default))
    decimal = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not decimal or not least <= int(text) <= most:
        raise Misuse(f"{name} is a whole number in {least}..{most}")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """Whether the parameter ``name`` is set, to something else than 0."""
    return request.query.get(name, "0") not in {"0", ""}
