"""Waiting until backends have what was pushed."""

from octopull.http.client import Http
from support.waiting import until

WRITTEN_S = 60.0


async def written(http: Http, *services: str) -> None:
    """Until none of ``services``, origins or tag indexes, has anything to write back."""

    async def done() -> bool:
        told = [await http.json("GET", f"http://{one}/write-back", dict) for one in services]
        return all(one["pending"] == 0 for one in told)

    await until(done, WRITTEN_S)
