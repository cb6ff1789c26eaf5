"""The memory tier against a model: which blobs there are, and what the disk has done to them."""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound
from octopull.storage.blob_file import BlobFile
from octopull.storage.eviction import EvictionPolicy, evict
from octopull.storage.hot import ENTRY_BYTES, HotStore
from octopull.storage.uploads import Uploads

BLOBS = {Digest.of(blob): blob for blob in (bytes([n]) * (10 * n) for n in range(6))}
SMALL = 40
LATER_NS = 2**62
BUDGET = 3 * (ENTRY_BYTES + SMALL)
blobs = st.sampled_from(sorted(BLOBS))


class Clock:
    """Touches count up; nothing waits for them."""

    ns = 1

    def __call__(self) -> int:
        self.ns += 1
        return self.ns


class HotStoreModel(RuleBasedStateMachine):
    """``here``: what the disk holds; ``damaged``: those of it that the disk has spoilt.

    Whoever finds that out has the blob set aside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.here: set[Digest] = set()
        self.damaged: set[Digest] = set()
        self.restart()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule()
    def restart(self) -> None:
        self.store = HotStore(self.root, BUDGET, SMALL, self.clock)

    @rule(digest=blobs)
    def put(self, digest: Digest) -> None:
        self.store.put(digest, BLOBS[digest])
        self.here.add(digest)

    @rule(digest=blobs)
    def push(self, digest: Digest) -> None:
        uploads = Uploads(self.store)
        session = uploads.start()
        uploads.append(session, 0, BLOBS[digest])
        uploads.commit(session, digest)
        self.here.add(digest)

    @rule(digest=blobs)
    def damage(self, digest: Digest) -> None:
        if digest in self.here and BLOBS[digest]:
            self.store.path(digest).write_bytes(b"?" * len(BLOBS[digest]))
            self.damaged.add(digest)

    @rule(digest=blobs)
    def take(self, digest: Digest) -> None:
        small = len(BLOBS[digest]) <= SMALL
        hot = self.store.content(digest)
        try:
            taken = self.store.take(digest)
        except NotFound:
            assert digest not in self.here
        except Corrupt:
            assert digest in self.damaged
            assert small
            assert hot is None
            self.gone({digest})
        else:
            assert digest in self.here
            assert isinstance(taken, BlobFile) != small
            if isinstance(taken, BlobFile):
                taken.close()
            else:
                assert taken == self.store.content(digest) == BLOBS[digest]

    @rule(digest=blobs)
    def read(self, digest: Digest) -> None:
        try:
            got = self.store.read(digest, max(map(len, BLOBS.values())))
        except NotFound:
            assert digest not in self.here
        except Corrupt:
            assert digest in self.damaged
            self.gone({digest})
        else:
            assert digest in self.here
            assert got == BLOBS[digest]

    @rule(digest=blobs)
    def delete(self, digest: Digest) -> None:
        with suppress(NotFound):
            self.store.delete(digest)
        self.gone({digest})

    @rule(digest=blobs)
    def collect(self, digest: Digest) -> None:
        self.store.collect(digest, LATER_NS)
        self.gone({digest})

    @rule(digest=blobs)
    def evict_backed(self, digest: Digest) -> None:
        if digest in self.here:
            self.store.mark_backed(digest, "a/b")
        self.store.evict(digest, LATER_NS)
        self.gone({digest})

    @rule()
    def evict(self) -> None:
        policy = EvictionPolicy(idle_s=1, life_s=0, high_watermark=1, low_watermark=1)
        gone = evict(self.store, policy, time.time() + 100)
        assert set(gone) == self.here
        self.gone(set(gone))

    def gone(self, digests: set[Digest]) -> None:
        self.here -= digests
        self.damaged -= digests

    @invariant()
    def memory_serves_only_what_is_here_and_proven(self) -> None:
        # By another way than ``content``, which would count as a use.
        held = {digest: self.store._hot.peek(digest) for digest in BLOBS}
        kept = {digest: hot.content for digest, hot in held.items() if hot is not None}
        assert kept == {digest: BLOBS[digest] for digest in kept}
        assert set(kept) <= self.here
        assert sum(len(content) + ENTRY_BYTES for content in kept.values()) <= BUDGET


TestHotStore = HotStoreModel.TestCase
TestHotStore.settings = settings(max_examples=30, stateful_step_count=30)
