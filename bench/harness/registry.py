"""A plain OCI client for set-up, and curl command lines for what is measured."""

import http.client
import ssl
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

from harness.content import MANIFEST, SmallImage
from harness.processes import run

CURL = ("curl", "--silent", "--show-error", "--fail", "--insecure")


def start_upload(base: str, repository: str) -> str:
    """Open an upload session; its URL, which already has a query or none."""
    reply = call("POST", base, f"/v2/{repository}/blobs/uploads/")
    location: str = reply.headers["Location"]
    return location if location.startswith("http") else f"{base}{location}"


def with_digest(session: str, digest: str) -> str:
    """The URL that ends an upload."""
    return f"{session}{'&' if '?' in session else '?'}digest={digest}"


def push_file(base: str, repository: str, path: Path, digest: str) -> None:
    """Push one blob from a file."""
    url = with_digest(start_upload(base, repository), digest)
    run(*CURL, "--request", "PUT", "--upload-file", path, "--output", "/dev/null",
        "--header", "Content-Type: application/octet-stream", url)  # fmt: skip


def push_image(base: str, name: str, image: SmallImage) -> None:
    """Push a small image as ``name`` (repository:tag)."""
    repository, _, tag = name.partition(":")
    for digest, content in image.blobs.items():
        url = urlsplit(with_digest(start_upload(base, repository), digest))
        call("PUT", base, f"{url.path}?{url.query}", content, "application/octet-stream")
    call("PUT", base, f"/v2/{repository}/manifests/{tag}", image.manifest, MANIFEST)


def delete(base: str, path: str) -> None:
    """DELETE something of ours."""
    call("DELETE", base, path)


@dataclass(frozen=True)
class Answer:
    """One response, whole."""

    headers: Message
    body: bytes


def call(method: str, base: str, path: str, body: bytes = b"", media_type: str = "") -> Answer:
    """One small request; anything but success is an error."""
    where = urlsplit(base)
    connection = http.client.HTTPConnection(where.netloc, timeout=120)
    if where.scheme == "https":
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(where.netloc, timeout=120, context=trusting)
    connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
    return Answer(response.headers, text)
