"""A folder as a store against a model: a dictionary."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octopull.backends.contract import Span
from octopull.backends.files import Files
from octopull.kernel.errors import Changed, NotFound, Unavailable
from support.contents import Bytes, joined

KEYS = ["a", "a-b/c", "a/b", "a/b/c", "a/b-c", "a.b", "b/a/a/a", "b", "a/c=d", "a0", "c/z~"]
keys = st.sampled_from(KEYS)
contents = st.binary(max_size=4)
T = TypeVar("T")


class FilesModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="octopull-files-"))
        self.loop = asyncio.new_event_loop()
        self.files = Files(self.root)
        self.held: dict[str, bytes] = {}
        self.versions: dict[str, str] = {}

    def run(self, call: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(call)

    def blocked(self, key: str) -> bool:
        """Whether a key above or below has an object, so that files can't have this one."""
        return any(
            other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in self.held
        )

    def version(self, key: str) -> str | None:
        return self.run(self.files.stat(key)).version if key in self.held else None

    @rule(key=keys, content=contents)
    def put(self, key: str, content: bytes) -> None:
        try:
            self.run(self.files.put(key, Bytes(content)))
            assert not self.blocked(key)
            self.held[key] = content
        except Unavailable:
            assert self.blocked(key)

    @rule(key=keys, content=contents, stale=st.booleans())
    def put_if(self, key: str, content: bytes, stale: bool) -> None:
        expected = self.versions.get(key) if stale else self.version(key)
        fits = expected == self.version(key)
        try:
            version = self.run(self.files.put_if(key, content, expected))
            assert fits
            assert not self.blocked(key)
            self.held[key] = content
            assert version == self.version(key)
        except Changed:
            assert not fits
        except Unavailable:
            assert self.blocked(key)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.run(self.files.delete(key))
        self.held.pop(key, None)

    @rule(key=keys)
    def remember(self, key: str) -> None:
        version = self.version(key)
        if version is not None:
            self.versions[key] = version

    @rule()
    def restart(self) -> None:
        self.files = Files(self.root)

    @rule(prefix=st.sampled_from(["", "a", "a/", "a/b", "a-", "b/", "b/a", "c/z", "z"]),
          after=st.sampled_from(["", *KEYS]), count=st.integers(1, 5))  # fmt: skip
    def list(self, prefix: str, after: str, count: int) -> None:
        expected = sorted(key for key in self.held if key.startswith(prefix) and key > after)
        assert self.run(self.files.list(prefix, after, count)) == expected[:count]

    @precondition(lambda self: bool(self.held))
    @rule(data=st.data())
    def span(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        content = self.held[key]
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, len(content) - start))
        got = self.run(joined(self.files.get(key, Span(start, length))))
        assert got == content[start : start + length]

    @invariant()
    def holds(self) -> None:
        for key in KEYS:
            try:
                assert self.run(joined(self.files.get(key))) == self.held[key]
            except NotFound:
                assert key not in self.held
        assert self.run(self.files.list("", "", 100)) == sorted(self.held)
        put = self.root / "~octopull/put"
        assert not put.exists() or not list(put.iterdir())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.root)


TestFiles = FilesModel.TestCase
TestFiles.settings = settings(max_examples=10, stateful_step_count=20)
