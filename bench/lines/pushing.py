"""A gibibyte into the proxy: by skopeo, and by one PUT; against docker-registry."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from harness import ours, rivals
from harness.content import CONFIG, LAYER, MANIFEST, MIB, write_blob
from harness.ours import Meter
from harness.pairs import GIB, Line, Sample, Sides
from harness.processes import run
from harness.registry import CURL, start_upload, with_digest

Push = Callable[[str], float]


@contextmanager
def _sides(
    folder: Path, make: Callable[[Path], tuple[Callable[[], None], Push]]
) -> Iterator[Sides]:
    with ExitStack() as stack:
        registry = stack.enter_context(rivals.docker_registry(folder / "registry"))
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        renew, push = make(folder)
        mine, theirs = Meter([cluster.pid]), Meter([registry.pid])

        def side(base: str, meter: Meter) -> Callable[[], Sample]:
            def once() -> Sample:
                renew()
                run("sync")
                return meter.throughput(lambda: push(base), GIB)

            return once

        yield Sides(side(cluster.proxy, mine), side(registry.url, theirs), mine.rss_mib)


def _raw(folder: Path) -> tuple[Callable[[], None], Push]:
    """One PUT of the whole by curl."""
    path, seeds, digests = folder / "blob", iter(range(1000)), [""]

    def renew() -> None:
        digests[0] = write_blob(path, GIB, next(seeds))

    def push(base: str) -> float:
        url = with_digest(start_upload(base, "bench"), digests[0])
        return run(*CURL, "--request", "PUT", "--upload-file", path, "--output", "/dev/null",
                   "--header", "Content-Type: application/octet-stream", url).cpu_s  # fmt: skip

    return renew, push


def _skopeo(folder: Path) -> tuple[Callable[[], None], Push]:
    """An image of one compressed layer by skopeo, which sends it as it is."""
    layout, seeds = folder / "layout", iter(range(1000))

    def renew() -> None:
        _layout(layout, next(seeds))

    def push(base: str) -> float:
        target = f"{base.removeprefix('http://')}/bench:v1"
        return run("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                   f"oci:{layout}:v1", f"docker://{target}").cpu_s  # fmt: skip

    return renew, push


def _layout(layout: Path, seed: int) -> None:
    """An OCI layout with one gzipped layer of a gibibyte; a stored gzip, so that it is made fast."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for old in blobs.iterdir():
        old.unlink()
    plain, packed = layout / "plain", layout / "packed"
    diff_id = write_blob(plain, GIB, seed)
    hasher = sha256()
    with (
        plain.open("rb") as source,
        packed.open("wb") as target,
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=0, mtime=0) as file,
    ):
        while chunk := source.read(MIB):
            file.write(chunk)
    plain.unlink()
    with packed.open("rb") as file:
        while chunk := file.read(MIB):
            hasher.update(chunk)
    layer = {"mediaType": LAYER, "digest": f"sha256:{hasher.hexdigest()}",
             "size": packed.stat().st_size}  # fmt: skip
    packed.rename(blobs / hasher.hexdigest())
    config = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()  # fmt: skip
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": _store(blobs, CONFIG, config),
         "layers": [layer]}
    ).encode()  # fmt: skip
    top = {**_store(blobs, MANIFEST, manifest),
           "annotations": {"org.opencontainers.image.ref.name": "v1"}}  # fmt: skip
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))


def _store(blobs: Path, media_type: str, content: bytes) -> dict[str, object]:
    digest = sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


LINES = [
    Line("push", "MiB/s", "docker-registry", lambda folder: _sides(folder, _skopeo), ">= 1.0"),
    Line("push-raw", "MiB/s", "docker-registry", lambda folder: _sides(folder, _raw),
         ">= 1.0, CPU <= 1.5x"),
]  # fmt: skip
