"""Golden transcripts: what a client asked a registry and what it was told, to be asked again.

A transcript keeps what decides how a client goes on: the status, the headers that clients read,
and the digest of the body or the error's code. Upload sessions are named ``{upload-1}``,
``{upload-2}``, ... in the order in which they were opened.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

FOLDER = Path(__file__).parents[1] / "golden"
ASKED = ("Accept", "Content-Type", "Content-Range", "Range")
TOLD = (
    "Accept-Ranges", "Content-Length", "Content-Range", "Content-Type", "Docker-Content-Digest",
    "Docker-Distribution-Api-Version", "Link", "Location", "OCI-Chunk-Min-Length",
    "OCI-Filters-Applied", "OCI-Subject", "Range", "WWW-Authenticate",
)  # fmt: skip
_UPLOAD = re.compile(r"(?<=/blobs/uploads/)[^/?]+")


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request; ``body`` is the digest of its bytes."""

    method: str
    path: str
    headers: list[tuple[str, str]] = []
    body: str = ""
    chunked: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer; ``body`` is the digest of a blob or manifest, an error's code, or JSON."""

    status: int
    headers: dict[str, str] = {}
    body: str = ""


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer."""

    ask: Ask
    told: Told


class Transcript(msgspec.Struct, frozen=True):
    """One operation of one client, in the order of its requests."""

    client: str
    """As its ``User-Agent`` says."""
    operation: str
    after: list[str]
    """Transcripts whose pushes it needs."""
    reads: bool
    """Whether it only reads, so that an agent, too, must answer it."""
    exchanges: list[Exchange]
    bodies: dict[str, bytes]
    """Bodies of requests, by digest."""


def load(name: str) -> Transcript:
    """The transcript stored as ``name``."""
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=Transcript)


def save(name: str, transcript: Transcript) -> None:
    """Store it as ``name``, in lines that a diff can show."""
    encoded = msgspec.json.format(msgspec.json.encode(transcript), indent=1)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_bytes(encoded + b"\n")


def digest(content: bytes) -> str:
    """What stands for ``content``; nothing for nothing."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}" if content else ""


def summary(path: str, status: int, headers: Any, body: bytes) -> Told:
    """What is kept of an answer: nothing that depends on how the server spells its own JSON."""
    kept = {name: headers[name] for name in TOLD if name in headers}
    if status < 400 and ("/blobs/" in path or "/manifests/" in path):
        return Told(status, kept, digest(body))
    kept.pop("Content-Length", None)
    document = json.loads(body) if body else None
    if status < 400:
        return Told(status, kept, json.dumps(document, sort_keys=True))
    # How an error is worded is free, and clients branch on its code.
    return Told(status, kept, document["errors"][0]["code"] if document else "")


class Sessions:
    """The upload sessions of one conversation, and what stands for them in its transcript."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """``text``, which may be a path or a ``Location``, with placeholders."""
        return _UPLOAD.sub(self._placeholder, text)

    def _placeholder(self, token: re.Match[str]) -> str:
        self._names.setdefault(token[0], f"{{upload-{len(self._names) + 1}}}")
        return self._names[token[0]]

    def show(self, text: str) -> str:
        """``text`` with the tokens that its placeholders stand for."""
        for token, name in self._names.items():
            text = text.replace(name, token)
        return text


async def replay(transcript: Transcript, address: str) -> list[str]:
    """Ask all of it again at ``address`` (host:port); each answer that differs, in words."""
    sessions, differences = Sessions(), []
    async with aiohttp.ClientSession(
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    ) as session:
        for number, exchange in enumerate(transcript.exchanges):
            ask = exchange.ask
            url = URL(f"http://{address}{sessions.show(ask.path)}", encoded=True)
            body = transcript.bodies.get(ask.body, b"")
            async with session.request(
                ask.method, url, data=chunks(body) if ask.chunked else body,
                headers=ask.headers, allow_redirects=False,
            ) as answer:  # fmt: skip
                told = summary(ask.path, answer.status, answer.headers, await answer.read())
            told = hidden(told, sessions)
            if told != exchange.told:
                differences.append(f"{number} {ask.method} {ask.path}: {exchange.told} now {told}")
    return differences


def hidden(told: Told, sessions: Sessions) -> Told:
    """``told`` without what differs from run to run."""
    headers = dict(told.headers)
    if "Location" in headers:
        headers["Location"] = sessions.hide(headers["Location"])
    return Told(told.status, headers, told.body)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """A body without a length."""
    if body:
        yield body
