"""The memory cache against a model: a list of what was used, oldest first."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octopull.kernel.digest import Digest
from octopull.storage.memory import MemoryCache

BUDGET = 10
keys = st.integers(0, 5).map(lambda n: Digest(f"{n:064x}"))


class MemoryCacheModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache: MemoryCache[int] = MemoryCache(BUDGET)
        self.used: list[tuple[Digest, int]] = []

    def forget(self, key: Digest) -> None:
        self.used = [entry for entry in self.used if entry[0] != key]

    @rule(key=keys, size=st.integers(0, 12))
    def put(self, key: Digest, size: int) -> None:
        self.cache.put(key, size, size)
        self.forget(key)
        if size <= BUDGET:
            self.used.append((key, size))
        while sum(size for _, size in self.used) > BUDGET:
            self.used.pop(0)

    @rule(key=keys)
    def get(self, key: Digest) -> None:
        expected = dict(self.used).get(key)
        assert self.cache.get(key) == expected
        if expected is not None:
            self.forget(key)
            self.used.append((key, expected))

    @rule(key=keys)
    def peek(self, key: Digest) -> None:
        assert self.cache.peek(key) == dict(self.used).get(key)

    @rule(key=keys)
    def drop(self, key: Digest) -> None:
        self.cache.drop(key)
        self.forget(key)

    @invariant()
    def holds(self) -> None:
        assert self.cache.bytes == sum(size for _, size in self.used) <= BUDGET
        for number in range(6):
            key = Digest(f"{number:064x}")
            assert (key in self.cache) == (key in dict(self.used))


TestMemoryCache = MemoryCacheModel.TestCase
