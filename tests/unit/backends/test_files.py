"""A folder as a store: what the contract does not ask, and a folder must keep."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from octopull.backends.contract import CONDITIONAL_BYTES_MAX, Span
from octopull.backends.files import Files, _finished
from octopull.backends.folders import OURS, Tree
from octopull.kernel.errors import InvalidName, NotFound, TooLarge, Unavailable
from support.contents import Bytes, joined

ROUNDS = 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def arriving(root: Path) -> list[Path]:
    """What is on its way in."""
    return sorted((root / OURS / "put").iterdir())


async def test_an_object_is_a_file_under_its_key(root: Path) -> None:
    await Files(root).put("a/b/c", Bytes(b"1"))
    assert (root / "a/b/c").read_bytes() == b"1"
    (root / "a/b/d").write_bytes(b"22")
    assert (await Files(root).stat("a/b/d")).size == 2
    assert await Files(root).list("", "", 10) == ["a/b/c", "a/b/d"]
    assert not arriving(root)


async def test_a_root_that_is_gone_is_no_empty_store(tmp_path: Path) -> None:
    files = Files(tmp_path / "not-mounted")
    for call in (
        files.stat("one"), joined(files.get("one")), files.list("", "", 1), files.delete("one"),
        files.put("one", Bytes(b"1")), files.put_if("one", b"1", None),
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            await call
    assert not (tmp_path / "not-mounted").exists()


async def test_links_lead_nowhere(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "one").symlink_to(outside / "secret")
    files = Files(root)
    for key in ("one", "folder/secret"):
        with pytest.raises(NotFound):
            await files.stat(key)
        with pytest.raises(NotFound):
            await joined(files.get(key))
        await files.delete(key)
    assert await files.list("", "", 10) == []
    assert await files.list("folder/", "", 10) == []
    with pytest.raises(Unavailable):
        await files.put("folder/new", Bytes(b"1"))
    with pytest.raises(Unavailable):
        await files.put_if("folder/new", b"1", None)
    await files.put("one", Bytes(b"ours"))
    assert (outside / "secret").read_bytes() == b"secret"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (root / "one").read_bytes() == b"ours"


async def test_a_pipe_is_no_object_and_nobody_waits_for_it(root: Path) -> None:
    os.mkfifo(root / "pipe")
    async with asyncio.timeout(5):
        with pytest.raises(NotFound):
            await joined(Files(root).get("pipe"))
    assert await Files(root).list("", "", 10) == []


async def test_folders_and_what_others_call_as_we_can_not_are_no_objects(root: Path) -> None:
    await Files(root).put("folder/one", Bytes(b"1"))
    for name in ("with space", "~tilde", "\N{SNOWMAN}", "ends\n"):
        (root / name).write_bytes(b"x")
    with pytest.raises(NotFound):
        await Files(root).stat("folder")
    assert await Files(root).list("", "", 10) == ["folder/one"]
    with pytest.raises(Unavailable):
        await Files(root).put("folder", Bytes(b"1"))
    with pytest.raises(Unavailable):
        await Files(root).put("folder/one/two", Bytes(b"1"))
    assert (root / "folder/one").read_bytes() == b"1"
    assert not arriving(root)


async def test_a_part_too_long_for_a_file_is_no_key_here(root: Path) -> None:
    key = "a" * 256
    for call in (Files(root).stat(key), Files(root).put(key, Bytes(b"1")), Files(root).delete(key)):
        with pytest.raises(InvalidName):
            await call


async def test_what_a_conditional_put_takes_is_limited(root: Path) -> None:
    with pytest.raises(TooLarge):
        await Files(root).put_if("one", bytes(CONDITIONAL_BYTES_MAX + 1), None)
    await Files(root).put_if("one", bytes(CONDITIONAL_BYTES_MAX), None)


async def test_deleting_takes_the_folders_along_that_are_then_empty(root: Path) -> None:
    files = Files(root)
    await files.put("a/b/c/one", Bytes(b"1"))
    await files.put("a/two", Bytes(b"2"))
    await files.delete("a/b/c/one")
    assert sorted(path.name for path in (root / "a").iterdir()) == ["two"]
    await files.delete("a/two")
    assert not (root / "a").exists()
    await files.put("a", Bytes(b"3"))


async def test_putting_and_deleting_in_one_folder_at_once_fails_nobody(root: Path) -> None:
    async def churn(key: str) -> None:
        files = Files(root)
        for _ in range(ROUNDS):
            await files.put(key, Bytes(b"1"))
            await files.delete(key)

    await asyncio.gather(*(churn(f"a/b/{number}") for number in range(4)))
    assert not (root / "a").exists()


async def test_a_reader_keeps_the_bytes_it_began_with(root: Path) -> None:
    files = Files(root)
    await files.put("one", Bytes(bytes(3 << 20)))
    reader = files.get("one")
    first = await anext(reader)
    await files.put("one", Bytes(b"new"))
    assert first + await joined(reader) == bytes(3 << 20)


async def test_a_file_cut_off_while_it_is_read_is_no_shorter_object(root: Path) -> None:
    files = Files(root)
    await files.put("one", Bytes(bytes(3 << 20)))
    reader = files.get("one")
    await anext(reader)
    os.truncate(root / "one", 1 << 20)
    with pytest.raises(Unavailable):
        await joined(reader)
    await joined(files.get("one", Span(0, 1 << 20)))


async def test_versions_differ_however_fast_an_object_changes(root: Path) -> None:
    files, seen = Files(root), set[str]()
    for number in range(200):  # Inodes are soon used again.
        before_ns = time.time_ns()
        await files.put("one", Bytes(bytes([number])))
        # By a finer clock than that of file systems, which may stand still meanwhile.
        assert before_ns <= (root / "one").stat().st_mtime_ns <= time.time_ns()
        seen.add((await files.stat("one")).version)
    assert len(seen) == 200


async def test_a_call_that_is_given_up_ends_with_its_thread() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()

    calling = asyncio.create_task(_finished(work))
    try:
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            calling.cancel()
            done, _ = await asyncio.wait([calling], timeout=0.05)
            assert not done
    finally:
        may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling


_DIE = """
import os, signal, sys
from pathlib import Path
from octopull.backends.folders import Tree
tree = Tree(Path(sys.argv[1]))
for _ in range(3):
    tree.arrive().write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


async def run(code: str, root: Path) -> int | None:
    """The code of exit of a process that runs ``code``."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(root))
    async with asyncio.timeout(120):
        return await process.wait()


async def test_what_the_dead_left_is_swept_and_what_others_put_is_not(root: Path) -> None:
    assert await run(_DIE, root) == -signal.SIGKILL
    assert len(arriving(root)) == 3
    living = Tree(root).arrive()
    await Files(root).put("one", Bytes(b"1"))
    assert [path.name for path in arriving(root)] == [living.name]
    assert await Files(root).list("", "", 10) == ["one"]
    Tree(root).discard(living)
    assert not arriving(root)


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@dataclass(frozen=True)
class Endless:
    """A content that waits after its first chunk."""

    size: int
    began: asyncio.Event

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        yield bytes(1 << 20)
        self.began.set()
        await asyncio.Event().wait()


async def test_a_put_that_is_given_up_leaves_no_file_open(root: Path) -> None:
    open_before = open_files()
    for _ in range(5):
        began = asyncio.Event()
        putting = asyncio.create_task(Files(root).put("one", Endless(2 << 20, began)))
        await began.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    for turns in range(30):  # Given up anywhere, also within a thread.
        putting = asyncio.create_task(Files(root).put("one", Bytes(bytes(2 << 20))))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        putting.cancel()
        await asyncio.wait([putting])
    assert not arriving(root)
    assert open_files() == open_before


_COUNT = """
import asyncio, sys
from pathlib import Path
from octopull.backends.files import Files, _finished
from octopull.kernel.errors import Changed, NotFound

async def main():
    files, wins = Files(Path(sys.argv[1])), 0
    while wins < 30:
        number, version = 0, None
        try:
            version = (await files.stat("counter")).version
            async for chunk in files.get("counter"):
                number = int(chunk)
        except NotFound:
            pass
        try:
            await files.put_if("counter", str(number + 1).encode(), version)
        except Changed:
            continue
        wins += 1

asyncio.run(main())
"""


async def test_of_processes_that_replace_at_once_none_loses_a_change(root: Path) -> None:
    assert await asyncio.gather(*(run(_COUNT, root) for _ in range(3))) == [0, 0, 0]
    assert (root / "counter").read_bytes() == b"90"
