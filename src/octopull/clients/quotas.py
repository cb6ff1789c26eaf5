"""What a tag index tells of quotas: how full they are, and whether there is room for a push."""

import msgspec

from octopull.http.client import Http


class ArrivingBlobs(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be pushed to a repository: digests with their sizes, and ``more`` bytes besides."""

    sizes: dict[str, int] = {}
    more: int = 0


class QuotaUse(msgspec.Struct, frozen=True, kw_only=True):
    """A quota, and how much of it is used, in bytes."""

    name: str
    repositories: list[str]
    used: int
    limit: int


class QuotaUses(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; ``unknown``: so many blobs at least count without their size, which is looked up."""

    quotas: list[QuotaUse]
    unknown: int = 0


async def uses(http: Http, host: str, timeout_s: float = 120.0) -> QuotaUses:
    """How full the quotas of the tag index ``host`` are, measured now.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    return await http.json("GET", f"http://{host}/quotas", QuotaUses, timeout_s=timeout_s)
