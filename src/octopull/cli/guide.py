"""What ``octopull up`` tells its user: addresses, and lines to copy."""

from pathlib import Path

from octopull.cli.cluster import Cluster, tags_beside
from octopull.config.backends import BackendSettings

PLAIN = (
    "WARNING: All of it speaks in clear: --tls encrypts everything, and has services let in none but "
    "each other."
)
OPEN = "WARNING: whoever reaches these ports may push, pull and delete: see --access."


def guide(cluster: Cluster, data: Path, backend: BackendSettings | None, *, is_open: bool) -> str:
    """What a user can do now, with lines to copy; ``is_open``: nobody need log in."""
    rows = [
        ("proxy (push)", cluster.proxy),
        ("tag index", cluster.tag_index),
        ("tracker", cluster.tracker),
        ("origin", cluster.origin),
        *((f"agent {n} (pull)", agent) for n, agent in enumerate(cluster.agents, 1)),
    ]
    lines = ["octopull is up.", ""]
    lines += [f"  {name:<16} {service.url}" for name, service in rows]
    lines += _plain(cluster) if cluster.certificates is None else _secure(cluster)
    lines += ["", f"Data is in {data}. Ctrl-C stops everything."]
    if backend is not None:
        kept = "Blobs and tags are written to" if tags_beside(backend) else "Blobs are read from"
        lines += [f"{kept} {backend.url}."]
    if cluster.certificates is None:
        lines += [PLAIN]
    login = f"Callers log in first, as by: docker login {cluster.proxy.address}"
    lines += [OPEN if is_open else login]
    return "\n".join(lines)


def _plain(cluster: Cluster) -> list[str]:
    proxy = cluster.proxy.address
    lines = [
        "",
        "Push an image:",
        f"  skopeo copy --dest-tls-verify=false docker-archive:image.tar docker://{proxy}/demo:v1",
        f"  podman push --tls-verify=false IMAGE docker://{proxy}/demo:v1",
        f"  docker tag IMAGE {proxy}/demo:v1 && docker push {proxy}/demo:v1",
    ]
    if cluster.agents:
        agent = cluster.agents[0].address
        lines += [
            "",
            "Pull it through an agent:",
            f"  skopeo copy --src-tls-verify=false docker://{agent}/demo:v1 oci:demo:v1",
            f"  podman pull --tls-verify=false {agent}/demo:v1",
            f"  docker pull {agent}/demo:v1",
            f"  ctr images pull --plain-http {agent}/demo:v1",
            f"  octopull pull demo:v1 ./demo --from http://{agent}",
        ]
    return lines


def _secure(cluster: Cluster) -> list[str]:
    assert cluster.certificates is not None
    trusted, operator = cluster.certificates.trusted, cluster.certificates.operator
    proxy = cluster.proxy.address
    lines = [
        "",
        f"Clients must trust its authority, {trusted}/ca.crt. Push an image:",
        f"  skopeo copy --dest-cert-dir {trusted} docker-archive:image.tar docker://{proxy}/demo:v1",
        f"  podman push --cert-dir {trusted} IMAGE docker://{proxy}/demo:v1",
        f"  install -D {trusted}/ca.crt /etc/docker/certs.d/{proxy}/ca.crt && docker push {proxy}/demo:v1",
    ]
    if cluster.agents:
        agent = cluster.agents[0].address
        lines += [
            "",
            "Pull it through an agent:",
            f"  skopeo copy --src-cert-dir {trusted} docker://{agent}/demo:v1 oci:demo:v1",
            f"  podman pull --cert-dir {trusted} {agent}/demo:v1",
            f"  octopull --tls {operator} pull demo:v1 ./demo --from https://{agent}",
        ]
    return [*lines, "", f"octopull's commands: export OCTOPULL_TLS={operator}"]
