"""A registry under test: bare requests, and the documents that are pushed to it."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from octopull.kernel.digest import Digest
from octopull.oci.manifests import MediaType

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class Answer(NamedTuple):
    """One response, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.json["errors"][0]["code"])


class Registry:
    """Bare requests to one address."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self.address = address
        self._base = f"http://{address}"

    async def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        """``Content_Type="..."`` sends ``Content-Type``; nothing of ``path`` is re-encoded."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else self._base + path
        if method == "PUT" and "/manifests/" in path:
            named.setdefault("Content-Type", MediaType.OCI_MANIFEST)
        if isinstance(data, bytes):
            data = io.BytesIO(data)
        async with self._session.request(
            method, URL(url, encoded=True), data=data, headers=named, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())

    async def push_blob(self, blob: bytes, repository: str = "a/b") -> Digest:
        """Push in one POST."""
        digest = Digest.of(blob)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        status, headers, _ = await self("POST", path, blob)
        assert status == 201
        assert headers["Location"] == f"/v2/{repository}/blobs/{digest}"
        return digest

    async def push_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str = "", **headers: str
    ) -> Answer:
        """PUT, sent as what the document says it is unless ``media_type`` says otherwise."""
        sent = media_type or json.loads(content).get("mediaType", MediaType.OCI_MANIFEST)
        path = f"/v2/{repository}/manifests/{reference}"
        return await self("PUT", path, content, Content_Type=sent, **headers)

    async def push_image(self, repository: str, reference: str = "", **more: Any) -> bytes:
        """Push config, no layers and a manifest (by digest unless ``reference``); its bytes."""
        await self.push_blob(b"{}", repository)
        content = manifest(b"{}", **more)
        answer = await self.push_manifest(repository, reference or digest_of(content), content)
        assert answer.status == 201, answer
        return content


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """``algorithm:hex``, without the help of the code under test."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def descriptor(
    content: bytes, media_type: str, algorithm: str = "sha256", **more: Any
) -> dict[str, Any]:
    """What a manifest says of ``content``."""
    digest = digest_of(content, algorithm)
    return {"mediaType": media_type, "digest": digest, "size": len(content), **more}


def manifest(config: bytes, /, *layers: bytes, **more: Any) -> bytes:
    """An image manifest; ``more`` are fields beside or instead of the usual ones."""
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": descriptor(config, CONFIG),
        "layers": [descriptor(layer, LAYER) for layer in layers],
        **more,
    }
    return json.dumps(document).encode()


def index(*manifests: bytes, **more: Any) -> bytes:
    """An image index of ``manifests``."""
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_INDEX,
        "manifests": [descriptor(one, MediaType.OCI_MANIFEST) for one in manifests],
        **more,
    }
    return json.dumps(document).encode()
