"""Stock clients that push beyond a quota print which one it is, how large, and how full."""

from pathlib import Path

import pytest

from oci_image import Image
from registry_clients import ClientFailed, Podman, Skopeo, run
from support.clients import Clients
from support.cluster import OCTOPULL, up

LIMIT = 1_000_000
WORDS = "would exceed the quota team of 976.6 KiB for team/[*][*]"


def test_skopeo_and_podman_print_the_quota_that_refuses_them(
    clients: Clients, image: Image, tmp_path: Path
) -> None:
    clients(Skopeo)
    podman = clients(Podman)
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text(f"quotas: [{{name: team, repositories: ['team/**'], bytes: {LIMIT}}}]")
    with up(tmp_path / "cluster", "--agents", "0", "--quotas", str(quotas)) as found:
        proxy = found["proxy"]

        def copy(to: str) -> str:
            return run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false",
                       f"oci:{image.folder}:v1", f"docker://{proxy}/{to}")  # fmt: skip

        with pytest.raises(ClientFailed, match=f"denied: adding .* {WORDS}"):
            copy("team/app:v1")
        copy("elsewhere/app:v1")
        podman.run("pull", *podman.policy, "--tls-verify=false", f"{proxy}/elsewhere/app:v1")
        source, target = f"{proxy}/elsewhere/app:v1", f"{proxy}/team/app:v1"
        with pytest.raises(ClientFailed, match=f"denied: adding .* {WORDS}"):
            podman.run("push", "--tls-verify=false", source, target)
        told = run(OCTOPULL, "quotas", "--tag-index", found["tag_index"])
        assert "976.6 KiB" in told
        assert "team/**" in told
