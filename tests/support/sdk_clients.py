"""Clients beside the stock commands: SDKs for Python, and umoci, which works on layouts."""

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry_clients import ClientFailed, Docker, Skopeo, extract, run

CLIENT_S = 120


class DockerSdk(Docker):
    """The Docker SDK for Python, with a dockerd of its own."""

    name = "docker-sdk"

    def __init__(self, sandbox: Path) -> None:
        super().__init__(sandbox)
        self._sandbox = sandbox

    def open(self) -> Any:
        """A client of the SDK; close it."""
        import docker

        url = f"unix://{self._sandbox}/docker.sock"
        return docker.DockerClient(base_url=url, version="auto", timeout=CLIENT_S)

    def push(self, layout: Path, tag: str, target: str) -> None:
        archive = self._sandbox / "image.tar"
        archive.unlink(missing_ok=True)
        run("skopeo", "--insecure-policy", "copy", f"oci:{layout}:{tag}",
            f"docker-archive:{archive}:{target}")  # fmt: skip
        repository, _, name = target.rpartition(":")
        client = self.open()
        try:
            client.images.load(archive.read_bytes())
            for line in client.images.push(repository, tag=name, stream=True, decode=True):
                if "error" in line:
                    raise ClientFailed(f"docker-sdk push: {line['error']}")
            client.images.remove(target)
        finally:
            client.close()

    def pull(self, registry: str, name: str, folder: Path) -> None:
        repository, _, tag = f"{registry}/{name}".rpartition(":")
        archive = self._sandbox / "export.tar"
        client = self.open()
        try:
            image = client.images.pull(repository, tag=tag)
            container = client.containers.create(image)
            with archive.open("wb") as out:
                out.writelines(container.export())
            container.remove()
            client.images.remove(f"{repository}:{tag}")
        finally:
            client.close()
        with tarfile.open(archive) as tar:
            extract(tar, folder)


class Umoci(Skopeo):
    """umoci, which unpacks layouts: skopeo carries them."""

    name = "umoci"
    needs: Sequence[str] = ("umoci", "skopeo")

    def pull(self, registry: str, name: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._sandbox) as scratch:
            layout, bundle = Path(scratch) / "layout", Path(scratch) / "bundle"
            self.copy(registry, name, layout)
            run("umoci", "unpack", "--rootless", "--image", f"{layout}:pulled", bundle)
            shutil.move(bundle / "rootfs", folder)


class Oras:
    """The ORAS SDK for Python: files as artifacts, not images."""

    name = "oras"

    def __init__(self, registry: str) -> None:
        import oras.client

        self.sdk = oras.client.OrasClient(hostname=registry, insecure=True)
        self._registry = registry

    def push(self, name: str, files: Sequence[tuple[Path, str]], **more: Any) -> str:
        """Push ``files`` with their media types as ``name`` (repository:tag); the digest."""
        named = [f"{path}:{media_type}" for path, media_type in files]
        answer = self.sdk.push(
            target=f"{self._registry}/{name}", files=named, disable_path_validation=True,
            quiet=True, **more,
        )  # fmt: skip
        return str(answer.headers["Docker-Content-Digest"])

    def pull(self, name: str, folder: Path) -> list[Path]:
        """Pull the artifact's files into ``folder``."""
        target = f"{self._registry}/{name}"
        return [Path(path) for path in self.sdk.pull(target=target, outdir=str(folder))]

    def manifest(self, name: str) -> Any:
        """The artifact's manifest."""
        return self.sdk.get_manifest(f"{self._registry}/{name}")

    def tags(self, repository: str) -> list[str]:
        """The repository's tags."""
        return list(self.sdk.get_tags(f"{self._registry}/{repository}"))

    def close(self) -> None:
        """Let go of its connections."""
        self.sdk.session.close()
