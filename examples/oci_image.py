"""Makes an OCI image layout (image-spec 1.1) from folders and files of this machine."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layer:
    """One layer: ``source`` (a folder or file) appears in the image as ``/target``."""

    source: Path
    target: str
    compressed: bool
    bytes_max: int = 1 << 40
    """Files are added until so many bytes are in."""


@dataclass(frozen=True)
class Image:
    """A finished layout: its folder, its manifest's digest, and the bytes of its layers."""

    folder: Path
    digest: str
    layer_bytes: int


def build(folder: Path, tag: str, layers: Sequence[Layer], architecture: str = "amd64") -> Image:
    """Write a layout with one image, named ``tag``, into ``folder``."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    built = [_layer(blobs, layer) for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in built]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **_store(blobs, json.dumps(config).encode())},
        "layers": [descriptor for descriptor, _ in built],
    }
    stored = _store(blobs, json.dumps(manifest).encode())
    top = {"mediaType": MANIFEST, **stored, "annotations": {NAME: tag}}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return Image(folder, stored["digest"], sum(one["size"] for one, _ in built))


def _store(blobs: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


class _Hashing(io.RawIOBase):
    """A file that hashes what is written to it."""

    def __init__(self, path: Path) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.hash.update(content)
        self.size += len(content)
        return self._file.write(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _layer(blobs: Path, layer: Layer) -> tuple[dict[str, Any], str]:
    """The descriptor of a layer's blob, and its diff id (the digest of the bare tar)."""
    scratch = blobs / "layer.tar"
    tar = _Hashing(scratch)
    with tarfile.open(fileobj=tar, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, layer)
    tar.close()
    diff_id = f"sha256:{tar.hash.hexdigest()}"
    media_type, size, digest = LAYER, tar.size, tar.hash.hexdigest()
    if layer.compressed:
        plain, packed = scratch, blobs / "layer.tar.gz"
        out = _Hashing(packed)
        with (
            plain.open("rb") as source,
            gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file,
        ):
            shutil.copyfileobj(source, file, 1 << 20)
        out.close()
        plain.unlink()
        scratch, media_type = packed, f"{LAYER}+gzip"
        size, digest = out.size, out.hash.hexdigest()
    scratch.rename(blobs / digest)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}, diff_id


def _add(archive: tarfile.TarFile, layer: Layer) -> None:
    files = [layer.source] if layer.source.is_file() else sorted(layer.source.rglob("*"))
    added = 0
    for path in files:
        if not path.is_file() or path.is_symlink() or added >= layer.bytes_max:
            continue
        inside = path.name if path == layer.source else str(path.relative_to(layer.source))
        info = tarfile.TarInfo(f"{layer.target.strip('/')}/{inside}")
        try:
            file = path.open("rb")
        except PermissionError:
            continue
        with file:
            info.size = path.stat().st_size
            info.mode = 0o644
            archive.addfile(info, file)
            added += info.size
