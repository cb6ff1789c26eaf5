"""How the other services speak to the tag index."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from octopull.clients.failover import first
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest
from octopull.kernel.names import TagName
from octopull.placement.health import Health

PUT_S = 60.0
"""A put checks everything the tag refers to before it answers."""


class TagIndex:
    """The tag index of one cluster; ``hosts`` are ``host:port``, any of which may be asked."""

    def __init__(self, http: Http, hosts: Sequence[str]) -> None:
        self._http = http
        self._hosts = list(hosts)
        self._health = Health()

    async def resolve(self, name: TagName) -> Digest:
        """The digest ``name`` stands for now.

        Raises:
            NotFound: no such tag. Unavailable: no index answers.

        """

        async def ask(host: str) -> bytes:
            return await self._http.bytes("GET", _tag(host, name), bytes_max=200)

        text = (await first(self._hosts, self._health, ask)).decode("ascii", "replace")
        try:
            return Digest.parse(text)
        except InvalidDigest as error:
            raise Corrupt("a tag index answered something else", answer=text[:80]) from error

    async def put(self, name: TagName, digest: Digest) -> None:
        """Let ``name`` stand for ``digest`` from now on; repeating it is safe.

        Raises:
            InvalidManifest: something it refers to is missing.

        """

        async def ask(host: str) -> None:
            url = f"{_tag(host, name)}/digest/{digest}"
            await self._http.call("PUT", url, timeout_s=PUT_S)

        await first(self._hosts, self._health, ask)

    async def tags(self, repository: str, count: int, last: str) -> list[str]:
        """Up to ``count`` tags of ``repository`` after ``last``, in order.

        Raises:
            NotFound: the repository has no tag.

        """

        async def ask(host: str) -> list[str]:
            query = urlencode({"n": count, "last": last})
            url = f"http://{host}/repositories/{quote(repository)}/tags?{query}"
            return await self._http.json("GET", url, list[str])

        return await first(self._hosts, self._health, ask)

    async def ready(self) -> None:
        """Raises Unavailable when no index answers."""

        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}/health", timeout_s=3)

        await first(self._hosts, self._health, ask)


def _tag(host: str, name: TagName) -> str:
    return f"http://{host}/tags/{quote(name.repository)}:{quote(name.tag)}"
