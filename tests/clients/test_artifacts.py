"""What is no image: files with media types of their own, and what refers to another manifest."""

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from octopull.kernel.digest import Digest
from registry_clients import Skopeo, run
from support.clients import Clients
from support.cluster import content
from support.registry import Registry
from support.sdk_clients import Oras

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SBOM = "application/spdx+json"


@pytest.fixture
def pusher(proxy: str) -> Iterator[Oras]:
    oras = Oras(proxy)
    yield oras
    oras.close()


@pytest.fixture
def puller(agent: str) -> Iterator[Oras]:
    oras = Oras(agent)
    yield oras
    oras.close()


@pytest.fixture
async def registry(proxy: str) -> AsyncIterator[Registry]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Registry(session, proxy)


def chart() -> bytes:
    """A chart as ``helm package`` makes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        text = b"apiVersion: v2\nname: demo\nversion: 1.2.3\n"
        info = tarfile.TarInfo("demo/Chart.yaml")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return packed.getvalue()


# The media type of the config says what an artifact is; then its files, each with its own.
ARTIFACTS = {
    "helm": (
        "application/vnd.cncf.helm.config.v1+json",
        {"demo-1.2.3.tgz": ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart())},
    ),
    "wasm": (
        "application/vnd.wasm.config.v0+json",
        {"module.wasm": ("application/wasm", b"\0asm\1\0\0\0")},
    ),
    "model": (
        "application/vnd.cncf.model.config.v1+json",
        {
            "weights.safetensors": (
                "application/vnd.cncf.model.weight.v1.raw", content(3 << 20, 60)),
            "README.md": ("application/vnd.cncf.model.doc.v1.raw", b"# A model\n"),
        },
    ),
    "sbom": ("application/vnd.example+type", {"sbom.json.gz": (SBOM, gzip.compress(b"{}"))}),
    "unknown": (
        "application/x.nobody-has-heard.of-this",
        {"one": ("text/x-one", b"1"), "two": ("text/x-two; charset=utf-8", b"2")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_an_artifact_keeps_its_types_and_its_bytes(
    pusher: Oras, puller: Oras, tmp_path: Path, kind: str
) -> None:
    config_type, files = ARTIFACTS[kind]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"kind": kind}))
    named: list[tuple[Path, str]] = []
    for name, (media_type, body) in files.items():
        (tmp_path / name).write_bytes(body)
        named.append((tmp_path / name, media_type))
    pusher.push(f"artifacts/{kind}:v1", named, manifest_config=f"{config}:{config_type}")

    stored = puller.manifest(f"artifacts/{kind}:v1")
    assert stored["config"]["mediaType"] == config_type
    assert [layer["mediaType"] for layer in stored["layers"]] == [
        media_type for media_type, _ in files.values()
    ]
    for path in puller.pull(f"artifacts/{kind}:v1", tmp_path / "pulled"):
        assert path.read_bytes() == files[path.name][1]


def test_skopeo_copies_an_artifact_as_it_is(
    clients: Clients, pusher: Oras, puller: Oras, proxy: str, agent: str, tmp_path: Path
) -> None:
    clients(Skopeo)
    (tmp_path / "policy.rego").write_text("package demo\n")
    digest = pusher.push(
        "artifacts/policy:v1",
        [(tmp_path / "policy.rego", "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego")],
    )
    run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
        "--preserve-digests", f"docker://{agent}/artifacts/policy:v1",
        f"docker://{proxy}/artifacts/copied:v1")  # fmt: skip
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false",
              f"docker://{agent}/artifacts/copied:v1")  # fmt: skip
    assert str(Digest.of(raw.encode())) == digest
    (pulled,) = puller.pull("artifacts/copied:v1", tmp_path / "out")
    assert pulled.read_text() == "package demo\n"


def test_a_folder_is_packed_and_unpacked(pusher: Oras, puller: Oras, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "rows").write_text("1\n2\n")
    media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    pusher.push("artifacts/folder:v1", [(tmp_path / "dataset", media_type)])
    puller.pull("artifacts/folder:v1", tmp_path / "out")
    assert (tmp_path / "out" / "dataset" / "rows").read_text() == "1\n2\n"


async def test_what_refers_to_an_artifact_is_found(
    pusher: Oras, registry: Registry, agent: str, tmp_path: Path
) -> None:
    from oras.oci import Subject

    (tmp_path / "app").write_bytes(b"an application")
    (tmp_path / "sbom.json").write_text("{}")
    parts = [(tmp_path / "app", "application/x-app")]
    subject = await asyncio.to_thread(pusher.push, "artifacts/subject:v1", parts)
    size = int(
        (await registry("HEAD", "/v2/artifacts/subject/manifests/v1")).headers["Content-Length"]
    )
    attached = await asyncio.to_thread(
        pusher.push, "artifacts/subject:sbom", [(tmp_path / "sbom.json", SBOM)],
        subject=Subject(MANIFEST, subject, size),
    )  # fmt: skip
    for address in (registry.address, agent):
        url = f"http://{address}/v2/artifacts/subject/referrers/{subject}"
        answer = await registry("GET", url)
        assert answer.status == 200
        assert [one["digest"] for one in answer.json["manifests"]] == [attached]
