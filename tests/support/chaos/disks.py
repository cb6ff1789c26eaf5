"""What the origins' disks hold, read by nobody's leave."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.placement.rendezvous import owners
from support.production import Node
from support.waiting import until


def blob_file(node: Node, digest: Digest) -> Path:
    """Where a node keeps a blob."""
    root = node.folder / "data" / "blobs" / str(digest.algorithm)
    return root / digest.hex[:2] / digest.hex


def blob_files(node: Node) -> list[Path]:
    """Those of all its blobs, in order."""
    return sorted(
        path for path in (node.folder / "data" / "blobs").rglob("*")
        if path.is_file() and path.name.isalnum()
    )  # fmt: skip


class Disks:
    """Those of ``origins``, ``replicas`` of which own each blob."""

    def __init__(self, origins: Sequence[Node], replicas: int) -> None:
        self._origins = {node.address: node for node in origins}
        self._replicas = replicas
        self._proven: set[tuple[Path, int, int]] = set()

    def lacking(self, blobs: set[Digest]) -> Iterator[str]:
        """Each copy that an owner should have of ``blobs``, and has not as it was pushed."""
        for digest in sorted(blobs, key=str):
            for host in owners(digest, list(self._origins), self._replicas):
                if not self._sound(self._origins[host], digest):
                    yield f"{digest} at {self._origins[host].name}"

    async def repaired(self, blobs: set[Digest], within_s: float) -> bool:
        """Whether every owner of ``blobs`` has them within that time."""

        async def none_lacks() -> bool:
            return await asyncio.to_thread(lambda: next(self.lacking(blobs), None)) is None

        try:
            await until(none_lacks, within_s)
        except TimeoutError:
            return False
        return True

    def _sound(self, node: Node, digest: Digest) -> bool:
        path = blob_file(node, digest)
        try:
            stat = path.stat()
            version = path, stat.st_ino, stat.st_mtime_ns
            if version not in self._proven:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, str(digest.algorithm)).hexdigest()
                if found != digest.hex:
                    return False
                self._proven.add(version)
        except OSError:
            return False
        return True
