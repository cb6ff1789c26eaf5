"""A cluster that speaks TLS, by ``octopull up --tls``, and stock clients that trust its authority."""

import json
import os
import subprocess
import sys
from pathlib import Path

from oci_image import Image
from registry_clients import Podman, Skopeo, contents, run, unpack
from support.clients import Clients
from support.cluster import OCTOPULL, Process, up


def test_the_lines_that_up_prints_work_as_they_stand(
    image: Image, expected: dict[str, str], clients: Clients, folder: Path, tmp_path: Path
) -> None:
    for kind in (Skopeo, Podman):
        clients(kind)
    run("skopeo", "--insecure-policy", "copy", f"oci:{image.folder}:v1",
        f"docker-archive:{tmp_path}/image.tar:demo:v1")  # fmt: skip
    environment = {
        "PATH": f"{OCTOPULL.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    with up(folder / "secure", "--agents", "1", "--tls") as cluster:
        printed = (folder / "secure" / "log").read_text().splitlines()
        assert not any("speaks in clear" in line for line in printed)
        lines = [line.strip() for line in printed if line.startswith("  ")]
        for start in ("skopeo copy --dest", "skopeo copy --src", "podman pull",
                      "octopull --tls"):  # fmt: skip
            line = next(line for line in lines if line.startswith(start))
            done = subprocess.run(
                line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stderr)
        unpack(tmp_path / "demo", tmp_path / "files")
        assert contents(tmp_path / "files") == expected
        export = next(line for line in printed if "OCTOPULL_TLS=" in line)
        environment["OCTOPULL_TLS"] = export.partition("OCTOPULL_TLS=")[2]
        told = subprocess.run(
            ["octopull", "status", "--cluster", folder / "secure" / "ready.json", "--json"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert [row["lacking"] for row in json.loads(told.stdout)] == [""] * 5
        # Without its authority nobody is served.
        refused = subprocess.run(
            ["skopeo", "inspect", f"docker://{cluster['proxy']}/demo:v1"], capture_output=True,
            text=True, check=False, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )  # fmt: skip
        assert "certificate signed by unknown authority" in refused.stderr


def test_a_cluster_in_clear_says_so(folder: Path, tmp_path: Path) -> None:
    with up(folder / "clear", "--agents", "0"):
        assert "All of it speaks in clear" in (folder / "clear" / "log").read_text()
    config = tmp_path / "tracker.yaml"
    config.write_text("tracker: {origins: ['127.0.0.1:1']}\n")
    process = Process(tmp_path / "log", "tracker", "--config", config)
    process.wait_for_text("tracker listens on")
    assert process.stop() == 0
    (line,) = [one for one in process.log.read_text().splitlines() if "tls.absent" in one]
    assert json.loads(line)["level"] == "warning"


def test_who_lacks_the_library_is_told_what_to_install(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['cryptography'] = None; from octopull.cli.main import main; main()"
    )
    for words in (("certs", "init"), ("up", "--tls", "--port-base", "0", "--agents", "0")):
        done = subprocess.run(
            [sys.executable, "-c", without, *words], cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert (
            done.stderr == "octopull: certificates are made with: pip install 'octopull[certs]'\n"
        )


def test_a_service_whose_files_are_wrong_says_which_and_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "tracker.yaml"
    files = f"authority: {tmp_path}/a.pem, certificate: {tmp_path}/t.pem, key: {tmp_path}/t.key"
    config.write_text(f"tracker: {{origins: ['127.0.0.1:1'], tls: {{{files}}}}}\n")
    done = subprocess.run(
        [OCTOPULL, "tracker", "--config", config], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"no TLS with certificate {tmp_path}/t.pem" in done.stderr
    assert "Traceback" not in done.stderr
