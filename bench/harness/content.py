"""Blobs and images to move: bytes that do not compress, and follow from a seed."""

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def write_blob(path: Path, size: int, seed: int) -> str:
    """Fill ``path`` with ``size`` bytes; their digest.

    A mebibyte of chance is repeated under a counter: making it must not take longer than
    moving it, and nothing here compresses or removes duplicates.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    block, hasher = random.Random(seed).randbytes(MIB), hashlib.sha256()
    with path.open("wb") as file:
        for at in range(0, size, MIB):
            part = (at.to_bytes(8, "big") + seed.to_bytes(8, "big") + block)[: min(MIB, size - at)]
            file.write(part)
            hasher.update(part)
    return f"sha256:{hasher.hexdigest()}"


@dataclass(frozen=True)
class SmallImage:
    """A manifest and its blobs, in memory."""

    manifest: bytes
    blobs: dict[str, bytes]


def small_image(layers: int, seed: int) -> SmallImage:
    """An image of ``layers`` layers of 10 to 100 KiB."""
    chance = random.Random(seed)
    config = json.dumps({"architecture": "amd64", "os": "linux", "seed": seed,
                         "rootfs": {"type": "layers", "diff_ids": []}}).encode()  # fmt: skip
    parts = [config, *(chance.randbytes(chance.randint(10, 100) * 1024) for _ in range(layers))]
    blobs = {f"sha256:{hashlib.sha256(part).hexdigest()}": part for part in parts}
    described = [{"digest": digest, "size": len(part)} for digest, part in blobs.items()]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **described[0]},
        "layers": [{"mediaType": LAYER, **one} for one in described[1:]],
    }
    return SmallImage(json.dumps(manifest).encode(), blobs)
