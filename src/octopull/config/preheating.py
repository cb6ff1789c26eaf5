"""How an agent takes part in preheats, and how it makes a container runtime pull."""

import re
from dataclasses import dataclass

from octopull.kernel.errors import Misuse

_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", re.ASCII)
"""containerd's rule, "docs/namespaces.md"."""
RUNTIMES = ("", "docker", "containerd")


def check_namespace(text: str) -> str:
    """``text`` itself, if containerd may have such a namespace.

    Raises:
        Misuse: it may not.

    """
    if len(text) > 76 or _NAMESPACE.fullmatch(text) is None:
        raise Misuse("not a namespace of containerd", namespace=text[:80])
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class PreloadSettings:
    """Which runtime of the same host ``GET /preload/tags/{tag}`` makes pull."""

    runtime: str = ""
    """``docker``, ``containerd``, or empty: preloads are refused."""
    docker_socket: str = "/var/run/docker.sock"
    containerd_socket: str = "/run/containerd/containerd.sock"
    namespace: str = "k8s.io"
    """containerd's, for those who don't ask for another: the one that Kubernetes looks in."""
    snapshotter: str = ""
    """containerd's; empty: its default. Kubernetes only sees what its own snapshotter holds."""
    timeout_s: float = 1800.0
    """How long the runtime may take to pull and unpack."""

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise Misuse("runtime is docker, containerd or empty", runtime=self.runtime[:80])
        check_namespace(self.namespace)
        if self.snapshotter:
            check_namespace(self.snapshotter)
        if self.timeout_s <= 0:
            raise Misuse("a timeout must lie in the future", timeout_s=self.timeout_s)
