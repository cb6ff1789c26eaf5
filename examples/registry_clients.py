"""Stock registry clients, each in a sandbox of its own: own storage, own daemon, own sockets.

Every client pushes an OCI layout and pulls an image into a folder of plain files, so that
what came out can be compared with what went in, byte for byte.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

TIMEOUT_S = 400


class ClientFailed(Exception):  # noqa: N818 - named for what happened
    """A client or its daemon said no; the message is its own."""


def run(*words: str | Path) -> str:
    """Run a command to its end; its standard output.

    Raises:
        ClientFailed: with what it printed.
    """
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ClientFailed(f"{words[0]} {words[1]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class RegistryClient(Protocol):
    """One client in its sandbox. It keeps no layers, so every push and every pull is a whole one."""

    name: str

    def start(self) -> None:
        """Start what it needs."""

    def push(self, layout: Path, tag: str, target: str) -> None:
        """Push the layout's image ``tag`` to ``target`` (host:port/repository:tag)."""

    def pull(self, registry: str, name: str, folder: Path) -> None:
        """Pull ``name`` (repository:tag) through ``registry`` and put its files into ``folder``."""

    def stop(self) -> None:
        """End what was started."""


class Sandboxed(RegistryClient, Protocol):
    """A client that is made by its kind."""

    needs: Sequence[str]
    """The commands it can't do without."""

    def __init__(self, sandbox: Path) -> None:
        """``sandbox`` is a folder of its own."""


class Skopeo:
    """skopeo, which needs no daemon."""

    name = "skopeo"
    needs: Sequence[str] = ("skopeo",)

    def __init__(self, sandbox: Path) -> None:
        self._sandbox = sandbox

    def start(self) -> None:
        self._sandbox.mkdir(parents=True, exist_ok=True)

    def push(self, layout: Path, tag: str, target: str) -> None:
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false",
            f"oci:{layout}:{tag}", f"docker://{target}")  # fmt: skip

    def pull(self, registry: str, name: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._sandbox) as copy:
            self.copy(registry, name, Path(copy))
            unpack(Path(copy), folder)

    def copy(self, registry: str, name: str, layout: Path) -> None:
        """Copy ``name`` as it is into ``layout``, tagged ``pulled``."""
        run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
            f"docker://{registry}/{name}", f"oci:{layout}:pulled")  # fmt: skip

    def stop(self) -> None:
        pass


class Podman:
    """podman with its own image store."""

    name = "podman"
    needs: Sequence[str] = ("podman",)

    def __init__(self, sandbox: Path) -> None:
        self._sandbox = sandbox
        # Its path may not be longer than 50 characters.
        self._runroot = tempfile.TemporaryDirectory(prefix="podman")
        self._podman = (self.name, "--root", sandbox / "root", "--runroot", self._runroot.name,
                        "--storage-driver", "vfs")  # fmt: skip
        self.policy = ("--signature-policy", sandbox / "policy.json")

    def start(self) -> None:
        self._sandbox.mkdir(parents=True, exist_ok=True)
        policy = self._sandbox / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))

    def run(self, *words: str | Path) -> str:
        """The command with its store; its standard output."""
        return run(*self._podman, *words)

    def push(self, layout: Path, tag: str, target: str) -> None:
        image = self.run("pull", "--quiet", *self.policy, f"oci:{layout}:{tag}").strip()
        self.run("push", "--tls-verify=false", *self.policy, image, f"docker://{target}")
        self.run("rmi", "--force", image)

    def pull(self, registry: str, name: str, folder: Path) -> None:
        image = f"{registry}/{name}"
        self.run("pull", "--tls-verify=false", *self.policy, image)
        mounted = Path(self.run("image", "mount", image).strip())
        shutil.copytree(mounted, folder, symlinks=True)
        self.run("image", "umount", image)
        self.run("rmi", "--force", image)

    def stop(self) -> None:
        self._runroot.cleanup()


class Buildah(Podman):
    """buildah, which has podman's ways to push and to pull, and containers to mount."""

    name = "buildah"
    needs: Sequence[str] = ("buildah",)

    def pull(self, registry: str, name: str, folder: Path) -> None:
        words = ("--pull-always", "--tls-verify=false", *self.policy)
        container = self.run("from", *words, f"{registry}/{name}").strip()
        mounted = Path(self.run("mount", container).strip())
        shutil.copytree(mounted, folder, symlinks=True)
        self.run("rm", container)
        self.run("rmi", "--force", f"{registry}/{name}")


class _Daemon:
    """A daemon in a process group of its own, and its log."""

    def __init__(self, words: Sequence[str | Path], log: Path, ready: Sequence[str | Path]) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [str(word) for word in words], stdout=out, stderr=out, start_new_session=True
            )
        until = time.monotonic() + 60
        while True:
            try:
                run(*ready)
            except ClientFailed as failure:
                if self._process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    tail = log.read_text(errors="replace")[-2000:]
                    raise ClientFailed(f"{words[0]} did not start: {tail}") from failure
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


class Docker:
    """docker with a dockerd of its own."""

    name = "docker"
    needs: Sequence[str] = ("docker", "dockerd", "containerd", "runc", "skopeo")

    def __init__(self, sandbox: Path, *options: str | Path) -> None:
        self._sandbox = sandbox
        self._options = options
        self._docker = ("docker", "--config", sandbox / "config",
                        "-H", f"unix://{sandbox}/docker.sock")  # fmt: skip
        self._daemon: _Daemon | None = None

    def start(self) -> None:
        self._sandbox.mkdir(parents=True, exist_ok=True)
        box = self._sandbox
        words = ("dockerd", "--data-root", box / "data", "--exec-root", box / "exec",
                 "--host", f"unix://{box}/docker.sock", "--pidfile", box / "pid",
                 "--iptables=false", "--ip6tables=false", "--bridge=none",
                 "--storage-driver", "vfs", *self._options)  # fmt: skip
        self._daemon = _Daemon(words, box / "log", (*self._docker, "version"))

    def run(self, *words: str | Path) -> str:
        """The command with its daemon; its standard output."""
        return run(*self._docker, *words)

    def push(self, layout: Path, tag: str, target: str) -> None:
        archive = self._sandbox / "image.tar"
        archive.unlink(missing_ok=True)
        run("skopeo", "--insecure-policy", "copy", f"oci:{layout}:{tag}",
            f"docker-archive:{archive}:{target}")  # fmt: skip
        self.run("load", "-i", archive)
        self.run("push", target)
        self.run("rmi", target)

    def pull(self, registry: str, name: str, folder: Path) -> None:
        image = f"{registry}/{name}"
        self.run("pull", image)
        container = self.run("create", image).strip()
        archive = self._sandbox / "export.tar"
        self.run("export", "-o", archive, container)
        self.run("rm", container)
        self.run("rmi", image)
        with tarfile.open(archive) as tar:
            extract(tar, folder)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()


class Containerd:
    """containerd, which asks a mirror named in ``hosts.toml``."""

    name = "containerd"
    needs: Sequence[str] = ("containerd", "ctr")

    def __init__(self, sandbox: Path) -> None:
        self._sandbox = sandbox
        self.socket = sandbox / "containerd.sock"
        self._ctr = ("ctr", "--address", self.socket)
        self._daemon: _Daemon | None = None

    def start(self) -> None:
        box = self._sandbox
        box.mkdir(parents=True, exist_ok=True)
        (box / "config.toml").write_text(
            f'version = 2\nroot = "{box}/root"\nstate = "{box}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.socket}"\n'
        )
        words = ("containerd", "--config", box / "config.toml")
        self._daemon = _Daemon(words, box / "log", (*self._ctr, "version"))

    def run(self, *words: str | Path) -> str:
        """``ctr`` with its daemon; its standard output."""
        return run(*self._ctr, *words)

    def push(self, layout: Path, tag: str, target: str) -> None:
        archive = self._sandbox / "push.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(layout, ".")
        self.run("images", "import", "--base-name", "pushed", archive)
        self.run("images", "push", "--plain-http", target, f"pushed:{tag}")
        self.run("images", "rm", "--sync", f"pushed:{tag}")

    def pull(self, registry: str, name: str, folder: Path) -> None:
        mirrored = "registry.example"
        hosts = self._sandbox / "hosts" / mirrored
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(
            f'server = "http://{registry}"\n\n'
            f'[host."http://{registry}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        image = f"{mirrored}/{name}"
        self.run("images", "pull", "--snapshotter", "native",
            "--hosts-dir", hosts.parent, image)  # fmt: skip
        mount = self._sandbox / f"mount-{folder.name}"
        mount.mkdir(exist_ok=True)
        self.run("images", "mount", "--snapshotter", "native", image, mount)
        try:
            shutil.copytree(mount, folder, symlinks=True)
        finally:
            self.run("images", "unmount", "--rm", "--snapshotter", "native", mount)
        self.run("images", "rm", "--sync", image)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()


Kind = type[Sandboxed]
CLIENTS: tuple[Kind, ...] = (Skopeo, Containerd, Docker, Podman)


def lacking(kind: Kind) -> list[str]:
    """What ``kind`` of client needs and this machine has not; root included."""
    missing = [word for word in kind.needs if shutil.which(word) is None]
    if not issubclass(kind, Skopeo) and os.geteuid() != 0:
        missing.append("root")
    return missing


def unpack(layout: Path, folder: Path) -> None:
    """Put the files of a layout's one image into ``folder``, layer over layer."""
    blobs = layout / "blobs" / "sha256"

    def blob(descriptor: dict[str, str]) -> Path:
        return blobs / descriptor["digest"].removeprefix("sha256:")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    for layer in manifest["layers"]:
        with tarfile.open(blob(layer)) as tar:
            extract(tar, folder)


def extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Copy the regular files of a tar below ``folder``; links and devices stay out."""
    for member in tar:
        target = (folder / member.name).resolve()
        source = tar.extractfile(member) if member.isfile() else None
        if source is not None and target.is_relative_to(folder.resolve()):
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)


def contents(folder: Path) -> dict[str, str]:
    """Each file's path below ``folder`` and the SHA-256 of its bytes; empty ones and links aside."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found
