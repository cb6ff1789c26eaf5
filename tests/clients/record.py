"""Records the golden transcripts anew (``make golden``): a client, a front, and a new cluster."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_image import Layer, build
from registry_clients import (
    Buildah,
    Containerd,
    Docker,
    Kind,
    Podman,
    RegistryClient,
    Skopeo,
    lacking,
    run,
)  # fmt: skip
from support.cluster import up
from support.golden import load, replay, save
from support.multi_arch import build_index
from support.recording import Recorder
from support.sdk_clients import DockerSdk, Oras

KINDS: tuple[Kind, ...] = (Skopeo, Podman, Buildah, Docker, DockerSdk, Containerd)
IMAGE = "golden/image:v1"
ARTIFACT = "golden/artifact:v1"
MODEL = "application/vnd.example.model.weights"


@dataclass(frozen=True)
class Operation:
    """What a client does at ``front`` (host:port), after the pushes of other transcripts."""

    name: str
    run: Callable[[str], Any]
    after: tuple[str, ...] = ()
    reads: bool = False


async def record(operation: Operation, folder: Path) -> None:
    """Carry it out in a cluster of its own, and save what was said."""
    with up(folder / f"cluster-{operation.name}", "--agents", "1") as cluster:
        for name in operation.after:
            assert await replay(load(name), cluster["proxy"]) == []
        address = cluster["agents"][0]["http"] if operation.reads else cluster["proxy"]
        async with Recorder(address) as front:
            await asyncio.to_thread(operation.run, front.address)
    transcript = front.transcript(operation.name, operation.after, reads=operation.reads)
    save(operation.name, transcript)
    print(f"{operation.name}: {len(transcript.exchanges)} requests by {transcript.client}")


@contextmanager
def started(kind: Kind, sandbox: Path) -> Iterator[RegistryClient]:
    """A client, its daemon included."""
    client = kind(sandbox)
    client.start()
    try:
        yield client
    finally:
        client.stop()


async def record_images(layout: Path, folder: Path) -> None:
    """Every client pushes the image, and pulls the one that skopeo pushed."""
    for kind in KINDS:
        missing = lacking(kind)
        if missing:
            print(f"{kind.name}: not recorded, needs {', '.join(missing)}")
            continue
        target = IMAGE if kind is Skopeo else f"golden/{kind.name}:v1"
        with started(kind, folder / kind.name) as client:

            def push(front: str, client: RegistryClient = client, target: str = target) -> None:
                client.push(layout, "v1", f"{front}/{target}")

            def pull(front: str, client: RegistryClient = client) -> None:
                client.pull(front, IMAGE, folder / f"{client.name}-out")

            await record(Operation(f"{kind.name}-push", push), folder)
            reading = Operation(f"{kind.name}-pull", pull, ("skopeo-push",), reads=True)
            await record(reading, folder)


def skopeo(verb: str, target: str, *, reads: bool) -> Operation:
    """A verb of skopeo on what it pushed."""

    def act(front: str) -> None:
        run("skopeo", verb, "--tls-verify=false", f"docker://{front}/{target}")

    return Operation(f"skopeo-{verb}", act, ("skopeo-push",), reads)


def indexes(folder: Path) -> Operation:
    """skopeo pushes an index and both its images."""
    build_index(folder / "index", "v1")

    def push(front: str) -> None:
        run("skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false",
            f"oci:{folder}/index:v1", f"docker://{front}/golden/index:v1")  # fmt: skip

    return Operation("skopeo-push-index", push)


def searches(folder: Path) -> Operation:
    """podman lists the repositories there are."""

    def search(front: str) -> None:
        with started(Podman, folder / "podman-search") as podman:
            assert isinstance(podman, Podman)
            podman.run("search", "--tls-verify=false", f"{front}/")

    return Operation("podman-search", search, ("skopeo-push", "oras-push"), reads=True)


def artifacts(folder: Path) -> list[Operation]:
    """What the ORAS SDK does."""
    weights = folder / "weights.bin"
    weights.write_bytes(b"weights of a small model")

    def push(front: str) -> None:
        oras = Oras(front)
        oras.push(ARTIFACT, [(weights, MODEL)])
        oras.close()

    def pull(front: str) -> None:
        oras = Oras(front)
        oras.pull(ARTIFACT, folder / "oras-out")
        oras.close()

    def delete(front: str) -> None:
        oras = Oras(front)
        assert oras.sdk.delete_tag(f"{front}/{ARTIFACT.removesuffix(':v1')}", "v1")
        oras.close()

    return [
        Operation("oras-push", push),
        Operation("oras-pull", pull, ("oras-push",), reads=True),
        Operation("oras-delete", delete, ("oras-push",)),
    ]


async def main(folder: Path) -> None:
    """Record everything; ``folder`` is scratch."""
    (folder / "motto").write_text("push once, pull everywhere\n")
    (folder / "answer").write_text("42\n")
    layers = [
        Layer(folder / "motto", "etc", compressed=True),
        Layer(folder / "answer", "srv", compressed=True),
    ]
    image = build(folder / "image", "v1", layers)
    await record_images(image.folder, folder)
    for operation in (
        skopeo("inspect", IMAGE, reads=True),
        skopeo("list-tags", IMAGE.removesuffix(":v1"), reads=True),
        skopeo("delete", IMAGE, reads=False),
        indexes(folder),
        *artifacts(folder),
        searches(folder),
    ):
        await record(operation, folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="golden") as scratch:
        asyncio.run(main(Path(scratch)))
