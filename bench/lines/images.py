"""``ctr images pull`` of an image of 600 MB, through a warm agent and through a cold one."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import ours, rivals
from harness.content import MIB
from harness.ours import Agent, Meter
from harness.pairs import Line, Sample, Sides
from harness.processes import run
from harness.registry import CURL, delete
from oci_image import Image, Layer, build
from registry_clients import Containerd

LAYERS = 3
LAYER_BYTES = 200_000_000
FILE_BYTES = 2 * MIB


def _image(folder: Path) -> Image:
    """Three layers of plain files, uncompressed: unpacking must not hide the transfer."""
    layers = []
    for number in range(LAYERS):
        source = folder / f"layer-{number}"
        source.mkdir(parents=True)
        chance = random.Random(number)
        for file in range(LAYER_BYTES // FILE_BYTES):
            (source / f"{file:04}").write_bytes(chance.randbytes(FILE_BYTES))
        layers.append(Layer(source, f"layer-{number}", compressed=False))
    return build(folder / "layout", "v1", layers)


@contextmanager
def _sides(folder: Path, *, cold: bool) -> Iterator[Sides]:
    with ExitStack() as stack:
        image = _image(folder / "image")
        registry = stack.enter_context(rivals.docker_registry(folder / "registry"))
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        agent = stack.enter_context(ours.agent(folder / "agent", cluster))
        containerd = Containerd(folder / "containerd")
        containerd.start()
        stack.callback(containerd.stop)
        for base in (registry.url, cluster.proxy):
            _push(image, base)
        mine, theirs = Meter([agent.pid, cluster.pid]), Meter([registry.pid])

        def pull(base: str, meter: Meter) -> Sample:
            run("sync")
            meter.start()
            name = f"{base.removeprefix('http://')}/bench:v1"
            ctr = ("ctr", "--address", containerd.socket)
            bill = run(*ctr, "images", "pull", "--plain-http", name)
            used_s = meter.used_s()
            run(*ctr, "images", "rm", "--sync", name)
            return Sample(bill.wall_s, bill.cpu_s + used_s, image.layer_bytes)

        def through_agent() -> Sample:
            if cold:
                _forget(agent, image)
            return pull(agent.url, mine)

        yield Sides(through_agent, lambda: pull(registry.url, theirs), mine.rss_mib)


def _push(image: Image, base: str) -> None:
    """As it is: skopeo would compress plain layers for one and not need to for the next."""
    run("skopeo", "--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false",
        f"oci:{image.folder}:v1", f"docker://{base.removeprefix('http://')}/bench:v1")  # fmt: skip


def _forget(agent: Agent, image: Image) -> None:
    cached = run(*CURL, f"{agent.url}/status").output
    for blob in (image.folder / "blobs" / "sha256").iterdir():
        if blob.name in cached:
            delete(agent.url, f"/blobs/sha256:{blob.name}")


LINES = [
    Line("image-pull-warm", "s", "docker-registry",
         lambda folder: _sides(folder, cold=False), "<= 1.05"),
    Line("image-pull-cold", "s", "docker-registry",
         lambda folder: _sides(folder, cold=True), "<= 1.15"),
]  # fmt: skip
