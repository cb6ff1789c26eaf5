"""The folders that blobs lie in: ``<algorithm>/<2 hex>/<hex>``, with their side files."""

from collections.abc import Iterator
from pathlib import Path

from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import InvalidDigest
from octopull.storage import durable, sides


class Shelves:
    """Where each blob under ``root`` is. Paths are made from ``Digest`` values alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for algorithm in Algorithm:
            durable.make_folder(root / algorithm)
        for shelf in root.glob("*/*"):
            sides.sweep(shelf)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._root.joinpath(digest.algorithm, digest.hex[:2], digest.hex)

    def digests(self, after: Digest | None = None, only: str = "") -> Iterator[Digest]:
        """Every blob behind ``after``, in order of algorithm and characters.

        ``only`` limits them to those whose hexadecimal characters begin with these two.

        Those that come or go meanwhile may be missed or named.
        """
        least = ("", "") if after is None else (after.algorithm.value, after.hex)
        for algorithm in sorted(Algorithm):
            for shelf in sorted((self._root / algorithm).iterdir()):
                if only not in {"", shelf.name}:
                    continue
                if (algorithm.value, shelf.name) < (least[0], least[1][:2]):
                    continue
                for name in sorted(path.name for path in shelf.iterdir()):
                    try:
                        digest = Digest(name, algorithm)
                    except InvalidDigest:
                        continue  # A side file.
                    if (algorithm.value, name) > least:
                        yield digest
