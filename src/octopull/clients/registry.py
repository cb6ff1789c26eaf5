"""A plain OCI registry seen from a client: what ``octopull push`` and ``pull`` speak."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urljoin

import aiohttp

from octopull.backends.authorization import Purpose
from octopull.clients.registry_login import RegistryLogin
from octopull.http.client import REPLY_BYTES_MAX, Http, Reply
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, Unauthenticated
from octopull.oci.manifests import MANIFEST_BYTES_MAX, MediaType

ACCEPT = ", ".join(kind.value for kind in MediaType)
COMMIT_S = 600.0


class Registry:
    """One registry at ``base_url``, and one repository of it, for one ``purpose``.

    ``credentials`` is the file that says who we are (clients/registry_login.py); empty: nobody.
    """

    def __init__(
        self, http: Http, base_url: str, repository: str, purpose: Purpose = Purpose.PUSH,
        credentials: str = "",
    ) -> None:  # fmt: skip
        self._http = http
        self._base = f"{base_url.rstrip('/')}/v2/{repository}"
        self._repository = repository
        self._purpose = purpose
        self._login = RegistryLogin(http, base_url, credentials)

    async def _call(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
        data: bytes | None = None, timeout_s: float, bytes_max: int = REPLY_BYTES_MAX,
    ) -> Reply:  # fmt: skip
        """As ``Http.call``, once more if the registry asks who we are."""

        async def ask(proof: Mapping[str, str]) -> Reply:
            sent = {**(headers or {}), **proof}
            return await self._http.call(
                method, url, data=data, headers=sent, timeout_s=timeout_s, bytes_max=bytes_max
            )

        shown = self._shown()
        try:
            return await ask(shown)
        except Unauthenticated as refusal:
            proof = await self._proof(refusal, shown)
        return await ask(proof)

    async def _proof(
        self, refusal: Unauthenticated, refused: Mapping[str, str]
    ) -> Mapping[str, str]:
        return await self._login.prove(refusal, self._repository, self._purpose, refused)

    def _shown(self) -> dict[str, str]:
        return self._login.shown(self._repository, self._purpose)

    async def manifest(self, reference: str) -> tuple[Digest, bytes]:
        """A manifest's digest (of a tag's, the SHA-256) and exact bytes.

        Raises:
            NotFound: no such manifest. Corrupt: other bytes than asked for.

        """
        reply = await self._call(
            "GET", f"{self._base}/manifests/{reference}", headers={"Accept": ACCEPT},
            bytes_max=MANIFEST_BYTES_MAX, timeout_s=60,
        )  # fmt: skip
        asked = names.reference(reference)
        if not isinstance(asked, Digest):
            return Digest.of(reply.body), reply.body
        if not asked.proves(reply.body):
            raise Corrupt("the registry sent another manifest", asked=reference)
        return asked, reply.body

    async def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there already."""
        try:
            await self._call("HEAD", f"{self._base}/blobs/{digest}", timeout_s=30)
        except NotFound:
            return False
        return True

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """The blob's bytes from ``offset`` on."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = f"{self._base}/blobs/{digest}"
        async with AsyncExitStack() as stack:

            async def ask(proof: Mapping[str, str]) -> aiohttp.ClientResponse:
                sent = {**headers, **proof}
                return await stack.enter_async_context(
                    self._http.stream("GET", url, headers=sent, idle_s=90)
                )

            shown = self._shown()
            try:
                response = await ask(shown)
            except Unauthenticated as refusal:
                response = await ask(await self._proof(refusal, shown))
            yield response

    async def start_upload(self) -> str:
        """Open a session; returns its URL."""
        url = f"{self._base}/blobs/uploads/"
        reply = await self._call("POST", url, timeout_s=30)
        return urljoin(url, reply.headers["Location"])

    async def upload_size(self, session: str) -> int:
        """Bytes the session holds."""
        reply = await self._call("GET", session, timeout_s=30)
        end = int(reply.headers.get("Range", "0-0").rpartition("-")[2])
        return end + 1 if end else 0

    async def append(
        self, session: str, offset: int, length: int, body: AsyncIterator[bytes]
    ) -> str:
        """Send ``length`` bytes that belong at ``offset``; returns the session's next URL."""
        if self._login.lacks(self._repository, self._purpose):
            # A body that is streamed can't be sent again with another proof.
            await self.upload_size(session)
        headers = {
            **self._shown(),
            "Content-Length": str(length),
            "Content-Range": f"{offset}-{offset + length - 1}",
            "Content-Type": "application/octet-stream",
        }
        async with self._http.stream(
            "PATCH", session, data=body, headers=headers, idle_s=120
        ) as response:
            return urljoin(session, response.headers["Location"])

    async def commit(self, session: str, digest: Digest) -> None:
        """Make the session's bytes the blob ``digest``."""
        await self._call("PUT", f"{session}?digest={digest}", timeout_s=COMMIT_S)

    async def put_manifest(self, reference: str, media_type: str, content: bytes) -> None:
        """Store a manifest under a tag or its digest."""
        await self._call(
            "PUT", f"{self._base}/manifests/{reference}", data=content,
            headers={"Content-Type": media_type}, timeout_s=120,
        )  # fmt: skip
