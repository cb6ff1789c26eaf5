"""A process that collects all of a store, for tests that kill it: collector.py ROOT."""

import sys
from pathlib import Path

from octopull.storage.disk import DiskStore

COUNT = 60


def blobs() -> list[bytes]:
    """What the store holds at first: the same in every process."""
    return [b"blob %d" % number for number in range(COUNT)]


def main() -> None:
    store = DiskStore(Path(sys.argv[1]))
    before_ns = store.now_ns()
    for digest, _ in store.untouched(before_ns, None, COUNT):
        print("collecting", flush=True)
        store.collect(digest, before_ns)


if __name__ == "__main__":
    main()
