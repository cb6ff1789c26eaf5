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
