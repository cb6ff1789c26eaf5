"""An OCI layout with one index: an image for each of two architectures."""

import json
import shutil
from pathlib import Path
from typing import Any

from oci_image import Layer, build
from octopull.kernel.digest import Digest

INDEX = "application/vnd.oci.image.index.v1+json"
NAME = "org.opencontainers.image.ref.name"
ARCHITECTURES = ("amd64", "arm64")


def build_index(folder: Path, tag: str) -> str:
    """Write it into ``folder``; the digest of the index. Each image has a file ``/etc/arch``."""
    entries: list[dict[str, Any]] = []
    blobs = folder / "blobs" / "sha256"
    for architecture in ARCHITECTURES:
        own = folder.parent / f"{folder.name}-{architecture}"
        own.mkdir()
        (own / "arch").write_text(f"{tag} {architecture}\n")
        layers = [Layer(own / "arch", "etc", compressed=True)]
        image = build(own / "image", tag, layers, architecture)
        shutil.copytree(image.folder / "blobs" / "sha256", blobs, dirs_exist_ok=True)
        (entry,) = json.loads((image.folder / "index.json").read_text())["manifests"]
        del entry["annotations"]
        entries.append(entry | {"platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    content = json.dumps(index).encode()
    digest = Digest.of(content)
    (blobs / digest.hex).write_bytes(content)
    top = {"mediaType": INDEX, "digest": str(digest), "size": len(content)}
    document = {"schemaVersion": 2, "manifests": [top | {"annotations": {NAME: tag}}]}
    (folder / "index.json").write_text(json.dumps(document))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(digest)
