"""What an origin that is to leave still has alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octopull.clients.holders import blob_url
from octopull.clients.holdings import Holding, Kind, holdings, ring
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.runtime.tasks import each

NAMESPACE = "drain"
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Left:
    """Copies that owners lack, and their bytes."""

    copies: int = 0
    size: int = 0


async def left(http: Http, host: str, others: Sequence[str]) -> Left:
    """What ``others`` own and have yet to fetch of what ``host`` holds and owns no longer.

    Raises:
        Unavailable: one of them does not answer. Corrupt: it answers something else.
        Misuse: one of them was not told yet that ``host`` is to leave.

    """
    for one in (host, *others):
        if (await ring(http, one)).weights.get(host, 1) != 0:
            raise Misuse(f"{one} was not started again since {host} has the weight 0, or has not "
                         "yet looked it up")  # fmt: skip
    copies = size = 0
    for other in others:
        async for page in holdings(http, host, other, Kind.STRAY):
            lacking = await _lacking(http, other, page)
            copies, size = copies + len(lacking), size + sum(one.size for one in lacking)
    return Left(copies, size)


async def _lacking(http: Http, host: str, page: Iterable[Holding]) -> list[Holding]:
    found: list[Holding] = []

    async def look(one: Holding) -> None:
        if await _lacks(http, host, one):
            found.append(one)

    await each(page, look, AT_ONCE)
    return found


async def _lacks(http: Http, host: str, one: Holding) -> bool:
    try:
        await http.call("HEAD", f"{blob_url(host, NAMESPACE, Digest.parse(one.digest))}?whole=1")
    except NotFound:
        return True
    return False
