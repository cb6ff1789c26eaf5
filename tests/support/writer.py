"""A process that writes one upload into a store, for tests that kill it: writer.py ROOT DIGEST."""

import sys
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads

SIZE = 8 << 20
STEP = 256 * 1024


def blob() -> bytes:
    """What is written: the same in every process."""
    return b"".join(number.to_bytes(4, "big") for number in range(SIZE // 4))


def main() -> None:
    content = blob()
    uploads = Uploads(DiskStore(Path(sys.argv[1])))
    session = uploads.start()
    for offset in range(0, SIZE, STEP):
        uploads.append(session, offset, content[offset : offset + STEP])
        print("appended", flush=True)
    print("committing", flush=True)
    uploads.commit(session, Digest.parse(sys.argv[2]))
    print("committed", flush=True)


if __name__ == "__main__":
    main()
