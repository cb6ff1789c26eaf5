"""HDFS as a store of objects: keys are paths below the url's, in folders.

A put goes to a file of its own in the folder ``TEMPORARY``, and is renamed over what was there,
which HDFS does at once: readers see the old bytes or all the new ones. It has no way to replace a
file only if it is a certain version, so there is no ``Feature.PUT_IF``.

HDFS refuses colons in names: they are semicolons there, which no key has and which stand between
the same characters. It is a tree, so that ``a`` and ``a/b`` can't both be objects.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import unquote, urlsplit

from yarl import URL

from octopull.backends import key_order
from octopull.backends.contract import PAGE_MAX, Content, Feature, Span, Stat, check_key, is_key
from octopull.backends.guard import Guard
from octopull.backends.webhdfs import WebHdfs, namenodes
from octopull.backends.webhdfs_answers import Entry
from octopull.config.backends import BackendSettings
from octopull.http.client import Http
from octopull.kernel.errors import Fault, InvalidName, Misuse, NotFound, Unavailable, Unsupported
from octopull.observability import logs

log = logs.get("hdfs")
TEMPORARY = ",octopull-temporary"
"""Below the root; keys have no commas."""

TEMPORARY_S_MAX = 2 * 24 * 3600.0
"""What is left there so long was left by a process that was killed."""

SWEEP_S = 3600.0
TIDY_S = 2.0
"""How long a put that failed may take to remove what it wrote."""

NAME_CHARS_MAX = 255
"""HDFS's ``dfs.namenode.fs-limits.max-component-length``."""

FEATURES = frozenset({Feature.PUT, Feature.DELETE, Feature.LIST})


class Hdfs:
    """Files of one HDFS below a folder as ``Objects``. For ``http`` and ``guard`` see WebHdfs."""

    def __init__(self, http: Http, settings: BackendSettings, guard: Guard) -> None:
        self._calls = WebHdfs(http, settings, guard)
        self._label = settings.label
        self._root = root(settings.url)
        self._temporary = f"{self._root}/{TEMPORARY}"
        self._swept_s = -SWEEP_S

    @property
    def features(self) -> frozenset[Feature]:
        """All but to replace what is a certain version."""
        return FEATURES

    async def stat(self, key: str) -> Stat:
        """Size, and a version by the file's number, which each put changes."""
        entry = await self._calls.status(self._path(key))
        if not entry.is_file:
            raise NotFound(f"{self._label} has a folder there", key=key)
        return Stat(entry.length, f"{entry.file_id}-{entry.modification_time}")

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes; see ``Objects``."""
        if span is not None and span.length == 0:
            await self.stat(key)
            return
        async with contextlib.aclosing(self._calls.read(self._path(key), span)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def put(self, key: str, content: Content) -> None:
        """Store ``content``; see ``Objects``, and above."""
        destination = self._path(key)
        await self._sweep()
        temporary = f"{self._temporary}/{uuid.uuid4().hex}"
        try:
            await self._calls.write(temporary, content)
            written = await self._written(temporary, content.size)
            await self._publish(temporary, destination, written)
        except BaseException:
            await self._discard(temporary)
            raise

    async def _written(self, temporary: str, size: int) -> Entry:
        # A datanode whose client went away closes the file as it is.
        stored = -1
        with contextlib.suppress(NotFound):
            entry = await self._calls.status(temporary)
            if entry.length == size:
                return entry
            stored = entry.length
        raise Unavailable(f"{self._label} has not stored what it was sent",
                          size=size, stored=stored)  # fmt: skip

    async def _publish(self, temporary: str, destination: str, written: Entry) -> None:
        try:
            await self._calls.rename(temporary, destination)
        except NotFound:
            # Its folder is not there; or the file is, since an earlier answer was lost.
            await self._calls.make_folder(destination.rpartition("/")[0])
            try:
                await self._calls.rename(temporary, destination)
            except NotFound as fault:
                if not await self._is(destination, written):
                    raise Unavailable(f"{self._label} has lost a file", key=destination) from fault

    async def _is(self, path: str, written: Entry) -> bool:
        with contextlib.suppress(NotFound):
            return (await self._calls.status(path)).file_id == written.file_id
        return False

    async def _discard(self, temporary: str) -> None:
        with contextlib.suppress(Fault, TimeoutError):
            async with asyncio.timeout(TIDY_S):
                # A datanode may be about to make the file although we have hung up.
                for pause_s in (0.1, 0.3, 0.0):
                    if await self._calls.remove(temporary):
                        break
                    await asyncio.sleep(pause_s)

    async def _sweep(self) -> None:
        """Now and then remove what puts of killed processes have left."""
        if time.monotonic() < self._swept_s + SWEEP_S:
            return
        self._swept_s = time.monotonic()
        oldest_ms = (time.time() - TEMPORARY_S_MAX) * 1000
        try:
            found, _ = await self._calls.entries(self._temporary, "")
            for entry in found:
                if entry.modification_time < oldest_ms:
                    await self._calls.remove(f"{self._temporary}/{entry.path_suffix}")
        except NotFound:
            pass
        except Fault as fault:
            log.warning("hdfs.not_swept", backend=self._label, reason=str(fault))

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """Raises Unsupported."""
        del content, expected
        raise Unsupported(f"{self._label} can't compare before it replaces", key=key[:80])

    async def delete(self, key: str) -> None:
        """Remove the object, and folders that are empty then."""
        path = self._path(key)
        try:
            if not (await self._calls.status(path)).is_file:
                return
        except NotFound:
            return
        await self._calls.remove(path)
        with contextlib.suppress(Fault):  # A folder that is not empty is no fault of anybody.
            folder = path.rpartition("/")[0]
            while len(folder) > len(self._root) and await self._calls.remove(folder):
                folder = folder.rpartition("/")[0]

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        """Keys in order; see ``Objects``. One call for each folder on the way."""
        folder, slash, _ = prefix.rpartition("/")
        found: list[str] = []
        if slash and not is_key(folder):
            return found
        async with contextlib.aclosing(key_order.walk(self._names, prefix, after)) as keys:
            async for key in keys:
                found.append(key)
                if len(found) >= min(count, PAGE_MAX):
                    break
        return found

    async def _names(self, folder: str, after: str) -> key_order.Page:
        path = f"{self._root}/{_encoded(folder)}".rstrip("/") or "/"
        try:
            found, more = await self._calls.entries(path, _encoded(after))
        except NotFound:
            found, more = [], False
        if more and not found:
            raise Unavailable(f"{self._label} does not go on with a list", folder=folder)
        names = [
            _decoded(one.path_suffix) + ("" if one.is_file else "/")
            for one in found if _is_name(one.path_suffix)
        ]  # fmt: skip
        return key_order.Page(names, _decoded(found[-1].path_suffix) if more else "")

    def _path(self, key: str) -> str:
        parts = check_key(key).split("/")
        if ".snapshot" in parts or ".reserved" in parts:
            raise InvalidName("HDFS has that name for itself", key=key)
        if max(map(len, parts)) > NAME_CHARS_MAX:
            raise InvalidName("a name is too long for HDFS", most=NAME_CHARS_MAX)
        return f"{self._root}/{_encoded(key)}"


@contextlib.asynccontextmanager
async def connected(settings: BackendSettings) -> AsyncIterator[Hdfs]:
    """The store of ``settings``, with connections of its own; nothing is asked of it yet.

    Raises:
        Misuse: the url or the options are wrong.

    """
    guard = Guard(*(URL(one).host or "" for one in namenodes(settings)))
    async with Http(guard) as http:
        yield Hdfs(http, settings, guard)


def root(url: str) -> str:
    """The folder that a url names, without a slash at its end.

    Raises:
        Misuse: it is none.

    """
    path = unquote(urlsplit(url).path).rstrip("/")
    parts = path.split("/")[1:]
    if any(part in {"", ".", ".."} or ":" in part for part in parts):
        raise Misuse("no folder of hdfs", path=path)
    return path


def _encoded(name: str) -> str:
    return name.replace(":", ";")


def _decoded(name: str) -> str:
    return name.replace(";", ":")


def _is_name(name: str) -> bool:
    """Whether ``name`` is a part of a key, or a file that somebody else has put there."""
    return is_key(_decoded(name)) and ":" not in name and "/" not in name
