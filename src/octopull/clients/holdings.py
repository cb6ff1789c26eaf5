"""What origins ask each other to find copies that are lost."""

from collections.abc import AsyncIterator
from enum import StrEnum

import msgspec

from octopull.http.client import Http
from octopull.kernel.errors import Corrupt
from octopull.placement.fingerprints import RANGES, shelf_of

PAGE = 1000
ASK_S = 120.0
"""A million blobs take a slow disk a minute to list."""


class Kind(StrEnum):
    """Which of the blobs that the asking origin owns."""

    SHARED = "shared"
    """Those that the answering one owns, too."""
    STRAY = "stray"
    """Those that it only holds: it did own them, or an owner was away when they came."""


class Fingerprints(msgspec.Struct, frozen=True, kw_only=True):
    """Of what two origins share, one for each range (``placement/fingerprints.py``)."""

    ranges: list[str]


class RingTold(msgspec.Struct, frozen=True, kw_only=True):
    """A ring, as one of its origins was told of it."""

    origins: list[str]
    replicas: int
    weights: dict[str, float]


class Holding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A blob: bytes, seconds since it was touched, and some namespaces for which a backend waits.

    The seconds are negative if a clock says that it will be touched.
    """

    digest: str
    size: int
    untouched_s: float
    lone: bool = False
    owed: list[str] = []


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """A page in the order of digests; ``after`` is where the next one begins, if one follows."""

    blobs: list[Holding]
    after: str = ""


async def ring(http: Http, host: str) -> RingTold:
    """What ``host`` knows of its ring.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    return await http.json("GET", f"http://{host}/internal/ring", RingTold, timeout_s=ASK_S)


async def fingerprints(http: Http, host: str, name: str) -> list[str]:
    """Of what ``host`` holds and shares with the origin ``name``.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    url = f"http://{host}/internal/fingerprints/{name}"
    found = (await http.json("GET", url, Fingerprints, timeout_s=ASK_S)).ranges
    if len(found) != RANGES:
        raise Corrupt("an origin sent another number of fingerprints", host=host)
    return found


async def holdings(
    http: Http, host: str, name: str, kind: Kind, number: int | None = None
) -> AsyncIterator[list[Holding]]:
    """The blobs of ``host`` that the origin ``name`` owns, of that range or of all, by the page.

    Raises:
        as ``fingerprints``.

    """
    url = f"http://{host}/internal/holdings/{name}?kind={kind}"
    if number is not None:
        url += f"&shelf={shelf_of(number)}"
    after = ""
    while True:
        page = await http.json("GET", f"{url}{after}", Holdings, timeout_s=ASK_S)
        yield page.blobs
        if not page.after:
            return
        after = f"&after={page.after}"
