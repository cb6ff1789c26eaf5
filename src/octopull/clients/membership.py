"""What a server knows of those it depends on: it looks whether they answer, and tells who asks."""

import asyncio
import random
from collections.abc import Mapping

import msgspec
from aiohttp import web

from octopull.config.membership import HealthSettings
from octopull.http.client import Http
from octopull.http.server import json_answer
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.placement.members import Members
from octopull.security.roles import Role

log = logs.get("health")
PATH = "/members"
JITTER = 0.2
ANSWER_BYTES_MAX = 1000


class MemberTold(msgspec.Struct, frozen=True, kw_only=True):
    """A member as a server sees it: its weight, and whether checks find it up."""

    host: str
    weight: float
    up: bool


ROLES = {"origins": Role.ORIGIN, "tag_indexes": Role.TAG_INDEX, "trackers": Role.TRACKER}
"""What the members of a cluster must prove to be, by its name."""

Told = dict[str, list[MemberTold]]
"""By what they are, such as ``origins``."""


async def members_of(http: Http, host: str) -> Told:
    """Whom the server at ``host`` depends on, and what it thinks of them.

    Raises:
        NotFound: it depends on nobody. Unavailable: it does not answer.
        Corrupt: it answers something else.

    """
    return await http.json("GET", f"http://{host}{PATH}", Told, timeout_s=5)


class Watch:
    """Checks ``clusters``, each a name and its members; what comes of it is their ``health``.

    ``by`` is the service that looks, and ``me`` the member that it is itself, which it does not
    check. It asks over connections of its own, by the addresses and certificates of ``http``.
    """

    def __init__(
        self, by: str, clusters: Mapping[str, Members], settings: HealthSettings, http: Http,
        me: str = "",
    ) -> None:  # fmt: skip
        self._by = by
        self._me = me
        self._clusters = clusters
        self._settings = settings
        self._http = http
        self._shown: set[tuple[str, str]] = set()

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_get(PATH, self._tell)

    async def _tell(self, _: web.Request) -> web.Response:
        return json_answer({name: _told(members) for name, members in self._clusters.items()})

    async def run(self) -> None:
        """Check again and again, until cancelled."""
        every_s = self._settings.every_s
        if not every_s:
            return
        # A pool of its own: where all connections to a host are busy, it is not down.
        async with self._http.apart() as http:
            await asyncio.sleep(random.uniform(0, every_s))
            while True:
                pause_s = every_s * random.uniform(1 - JITTER, 1 + JITTER)
                await asyncio.gather(asyncio.sleep(pause_s), self._check_all(http))

    async def _check_all(self, http: Http) -> None:
        checks = [
            self._check(http.to(ROLES[cluster]), cluster, members, host)
            for cluster, members in self._clusters.items()
            for host in members.hosts
            if host != self._me
        ]
        await asyncio.gather(*checks)
        there = {(name, host) for name, one in self._clusters.items() for host in one.hosts}
        for gone in self._shown - there:
            metrics.HOST_UP.remove(self._by, *gone)
        self._shown &= there

    async def _check(self, http: Http, cluster: str, members: Members, host: str) -> None:
        reason = ""
        try:
            await http.call(
                "GET", f"http://{host}/health", timeout_s=self._settings.timeout_s,
                bytes_max=ANSWER_BYTES_MAX,
            )  # fmt: skip
        except Fault as fault:
            reason = str(fault)
        if host not in members.hosts:
            return
        if members.health.checked(host, passed=not reason):
            event = "host.down" if reason else "host.up"
            log.warning(event, cluster=cluster, host=host, by=self._by, reason=reason)
        metrics.HOST_UP.labels(self._by, cluster, host).set(not members.health.down(host))
        self._shown.add((cluster, host))


def _told(members: Members) -> list[MemberTold]:
    now, down = members.now, members.health.down
    return [
        MemberTold(host=host, weight=now.weights.get(host, 1), up=not down(host))
        for host in now.hosts
    ]
