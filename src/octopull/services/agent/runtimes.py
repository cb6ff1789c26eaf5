"""Container runtimes of the same host, made to pull an image from this agent.

Docker is asked by its own API (Engine API, "Create an image": ``POST /images/create``), containerd
by its client ``ctr``, since its API is gRPC.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import msgspec

from octopull.config.preheating import PreloadSettings, check_namespace
from octopull.http.serving import Listening
from octopull.kernel.errors import Unavailable
from octopull.kernel.names import TagName

LINE_BYTES_MAX = 1 << 20
WORDS_BYTES_MAX = 2000
"""How much of a runtime's own words is passed on."""


class Runtime(Protocol):
    """What can be made to pull."""

    async def pull(self, agent: Listening, name: TagName, namespace: str) -> None:
        """Until the runtime has ``name``, pulled through ``agent``.

        Raises:
            Unavailable: it has not, in its own words.

        """


def runtime_of(settings: PreloadSettings) -> Runtime:
    """The one that ``settings`` name."""
    return Docker(settings) if settings.runtime == "docker" else Containerd(settings)


class Docker:
    """A dockerd behind its Unix socket."""

    def __init__(self, settings: PreloadSettings) -> None:
        self._socket = settings.docker_socket
        self._timeout_s = settings.timeout_s

    async def pull(self, agent: Listening, name: TagName, namespace: str) -> None:
        """See ``Runtime``; docker has no namespaces."""
        _ = namespace
        image = {"fromImage": f"{local(agent)}/{name.repository}", "tag": name.tag}
        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=5)
        connector = aiohttp.UnixConnector(self._socket)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post("http://docker/images/create", params=image) as response,
            ):
                if response.status >= 400:
                    raise _refused("docker", await _message(response))
                # It answers 200 before it pulls: how that ended is said in the last lines.
                async for line in _lines(response.content):
                    if error := _error(line):
                        raise _refused("docker", error)
        except TimeoutError as error:
            raise _late("docker", self._timeout_s) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"docker does not answer at {self._socket}: {error}") from error


class Containerd:
    """A containerd behind its socket, by ``ctr``."""

    def __init__(self, settings: PreloadSettings) -> None:
        self._settings = settings

    async def pull(self, agent: Listening, name: TagName, namespace: str) -> None:
        """See ``Runtime``; ``namespace`` is containerd's, the configured one if it is empty."""
        settings = self._settings
        words = [
            "ctr", "--address", settings.containerd_socket,
            "--namespace", check_namespace(namespace or settings.namespace), "images", "pull",
        ]  # fmt: skip
        words += [] if agent.secure else ["--plain-http"]
        words += ["--snapshotter", settings.snapshotter] if settings.snapshotter else []
        try:
            process = await asyncio.create_subprocess_exec(
                *words, f"{local(agent)}/{name}", stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"ctr, containerd's client, can't be run: {error}") from error
        try:
            async with asyncio.timeout(settings.timeout_s):
                told = await _last_words(process)
                status = await process.wait()
        except TimeoutError as error:
            raise _late("containerd", settings.timeout_s) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if status:
            raise _refused("containerd", told or f"ctr ended with status {status}")


def local(agent: Listening) -> str:
    """``host:port`` by which a client on the same host reaches ``agent``."""
    everywhere = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared only
    host = everywhere.get(agent.host)
    return agent.address if host is None else f"{host}:{agent.port}"


def _refused(runtime: str, words: str) -> Unavailable:
    return Unavailable(f"{runtime} did not pull it: {words[:WORDS_BYTES_MAX]}")


def _late(runtime: str, timeout_s: float) -> Unavailable:
    return Unavailable(f"{runtime} did not pull it within {timeout_s:.0f} s")


async def _message(response: aiohttp.ClientResponse) -> str:
    body = await response.content.read(LINE_BYTES_MAX)
    return _field(body, "message") or f"status {response.status}"


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of at most ``LINE_BYTES_MAX``; of a longer one, its end is a line of its own."""
    kept = b""
    async for chunk in stream.iter_any():
        *whole, kept = (kept + chunk).split(b"\n")
        for line in whole:
            yield line
        kept = kept[-LINE_BYTES_MAX:]
    yield kept


def _error(line: bytes) -> str:
    """What a line of progress says went wrong; empty if nothing."""
    return _field(line, "error")


def _field(document: bytes, name: str) -> str:
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return str(found.get(name, "")) if isinstance(found, dict) else ""


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """The end of what it says on its standard error, read until it closes that."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(65536):
        kept = (kept + chunk)[-WORDS_BYTES_MAX:]
    return kept.decode("utf-8", "replace").strip()
