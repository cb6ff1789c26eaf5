"""The command, on a folder that stands for ``/``: what it writes, says, refuses and takes back."""

import json
import os
import re
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from octopull.cli.main import octopull
from octopull.kernel.errors import Misuse, Unavailable
from octopull.storage import durable
from support.cluster import OCTOPULL

GOLDEN = Path(__file__).parents[2] / "golden" / "mirrors"
HOSTS = "etc/containerd/certs.d/docker.io/hosts.toml"
CONFIG = "etc/containerd/config.toml"
DAEMON = "etc/docker/daemon.json"
DROP_IN = "etc/containers/registries.conf.d/500-octopull.conf"
BACKUP = ".octopull-backup"
V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "%s"\n'
V3 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '%s'\n"


def install(root: Path, *words: str) -> str:
    """The command in this process; what it printed. A fault comes out as it is."""
    done = CliRunner().invoke(octopull, ["agent", "install-mirror", "--root", str(root), *words])
    if done.exception is not None:
        raise done.exception
    return done.output.replace(str(root), "ROOT")


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and mode."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class Case:
    words: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict[str, str])


CASES = {
    "containerd": Case(("--containerd", "--registry", "docker.io", "--own", "registry.example")),
    "containerd-1": Case(
        ("--containerd",),
        {
            CONFIG: V2 % "/etc/containerd/certs.d",
            HOSTS: '# ours\nserver = "https://cache.example"\n\n'
            '[host."https://cache.example"]\ncapabilities = ["pull"]\nca = "cache.crt"',
        },
    ),
    "containerd-2": Case(
        ("--containerd", "--own", "cluster.example"),
        {
            CONFIG: V3 % "" + "[plugins.'io.containerd.cri.v1.images'.registry.mirrors.x]\n",
            "etc/containerd/certs.d/_default/hosts.toml": "[host.'https://cache.example']\n",
            "etc/containerd/certs.d/cluster.example/hosts.toml": 'server = "https://up.example"\n',
        },
    ),
    "docker": Case(("--docker",)),
    "docker-configured": Case(
        ("--docker", "--registry", "docker.io", "--registry", "quay.io", "--agent", "10.0.0.7:80"),
        {DAEMON: '{\n\t"debug": true,\n\t"registry-mirrors": [ "https://cache.example" ]}'},
    ),
    "docker-blank": Case(("--docker",), {DAEMON: ""}),
    "podman": Case(
        ("--podman", "--registry", "docker.io", "--own", "registry.example:5000"),
        {"etc/containers/registries.conf": 'unqualified-search-registries = ["docker.io"]\n'},
    ),
    "crio": Case(
        ("--crio", "--podman", "--registry", "quay.io", "--agent", "https://agent.example:443"),
        {DROP_IN: "# somebody's words\n"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_written_and_taken_back(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    lay(tmp_path, case.files)
    for there in tmp_path.rglob("*.*"):
        if there.is_file():
            there.chmod(0o640)
    before = tree(tmp_path)
    dry = install(tmp_path, *case.words, "--dry-run")
    assert tree(tmp_path) == before
    printed = install(tmp_path, *case.words)
    assert printed == (GOLDEN / f"{name}.txt").read_text()
    assert printed.startswith(dry[: dry.index("nothing was written: --dry-run")])
    after = tree(tmp_path)
    for path, (content, mode) in after.items():
        assert mode == (0o640 if path.removesuffix(BACKUP) in before else 0o644)
        if path.endswith(BACKUP):
            assert content == before[path.removesuffix(BACKUP)][0]
    assert "already so: " in install(tmp_path, *case.words)
    assert tree(tmp_path) == after
    agent = case.words[case.words.index("--agent") :] if "--agent" in case.words else ()
    flags = [word for word in case.words if word[2:] in ("containerd", "docker", "podman", "crio")]
    install(tmp_path, *flags, *agent, "--remove")
    assert tree(tmp_path) == before
    assert "nothing of this command is there" in install(tmp_path, *flags, *agent, "--remove")
    assert tree(tmp_path) == before


def test_every_golden_file_has_its_case() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(CASES)


def test_the_how_to_shows_what_is_written(tmp_path: Path) -> None:
    install(tmp_path, "--containerd", "--docker", "--podman")
    written = sorted(content.decode() for content, _ in tree(tmp_path).values())
    how_to = (GOLDEN.parents[2] / "docs" / "mirror.md").read_text()
    shown = re.findall(r"^```(?:toml|json)\n(.*?)^```$", how_to, re.MULTILINE | re.DOTALL)
    assert sorted(shown) == written


def test_a_registry_is_removed_alone(tmp_path: Path) -> None:
    both = ("--containerd", "--podman", "--registry", "docker.io", "--registry", "quay.io")
    install(tmp_path, *both)
    install(tmp_path, "--containerd", "--podman", "--docker", "--registry", "docker.io", "--remove")
    left = tmp_path / "only-quay"
    left.mkdir()
    install(left, "--containerd", "--podman", "--registry", "quay.io")
    assert {path: text for path, text in tree(tmp_path).items() if "only-quay" not in path} == tree(
        left
    )


def test_a_file_of_ours_has_no_backup_and_takes_its_folder_with_it(tmp_path: Path) -> None:
    lay(tmp_path, {"etc/docker/key.json": ""})
    for registry in ("docker.io", "quay.io"):
        install(tmp_path, "--podman", "--containerd", "--registry", registry)
    hosts = "etc/containerd/certs.d/quay.io/hosts.toml"
    assert sorted(tree(tmp_path)) == sorted([HOSTS, hosts, DROP_IN, "etc/docker/key.json"])
    install(tmp_path, "--docker")
    (tmp_path / "etc/docker/key.json").unlink()
    install(tmp_path, "--podman", "--containerd", "--docker", "--remove")
    folders = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert folders == [
        "etc", "etc/containerd", "etc/containerd/certs.d", "etc/containers",
        "etc/containers/registries.conf.d", "etc/docker",
    ]  # fmt: skip


def test_docker_keeps_its_mirror_when_another_registry_goes(tmp_path: Path) -> None:
    install(tmp_path, "--docker")
    before = tree(tmp_path)
    said = install(tmp_path, "--docker", "--registry", "quay.io", "--remove")
    assert "nothing of this command is there" in said
    assert tree(tmp_path) == before


def test_what_was_written_before_containerd_was_told_to_look_elsewhere_goes(tmp_path: Path) -> None:
    install(tmp_path, "--containerd")
    lay(tmp_path, {CONFIG: V3 % "/opt/hosts"})
    install(tmp_path, "--containerd", "--remove")
    assert sorted(tree(tmp_path)) == [CONFIG]


def test_what_was_added_since_stays_and_so_does_the_backup(tmp_path: Path) -> None:
    lay(tmp_path, {DAEMON: '{"debug": true}'})
    install(tmp_path, "--docker")
    daemon = tmp_path / DAEMON
    daemon.write_text(json.dumps({"mtu": 1400, **json.loads(daemon.read_text())}))
    said = install(tmp_path, "--docker", "--remove")
    assert f"ROOT/{DAEMON}{BACKUP} has what was there before the first change" in said
    assert "systemctl restart docker" in said
    assert json.loads(daemon.read_text()) == {"mtu": 1400, "registry-mirrors": [], "debug": True}
    assert (tmp_path / (DAEMON + BACKUP)).read_text() == '{"debug": true}'
    said = install(tmp_path, "--docker")
    assert f"ROOT/{DAEMON}{BACKUP} is of an earlier time and stays as it is" in said
    assert (tmp_path / (DAEMON + BACKUP)).read_text() == '{"debug": true}'


def test_a_file_of_ours_that_somebody_went_on_with_loses_our_part_alone(tmp_path: Path) -> None:
    install(tmp_path, "--containerd")
    with (tmp_path / HOSTS).open("a") as file:
        file.write('[host."https://other.example"]\n')
    install(tmp_path, "--containerd", "--remove")
    assert tree(tmp_path) == {HOSTS: (b'[host."https://other.example"]\n', 0o644)}


def test_an_empty_file_of_others_stays(tmp_path: Path) -> None:
    lay(tmp_path, {DAEMON: "", DROP_IN: "", HOSTS: ""})
    before = tree(tmp_path)
    everything = ("--containerd", "--docker", "--podman")
    assert "nothing of this command" in install(tmp_path, *everything, "--remove")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text", "words", "fault"),
    [
        (DAEMON, '{"debug": true', ("--docker",), "daemon.json: it is no JSON object"),
        (DAEMON, '{"registry-mirrors": 1}', ("--docker",), "is no list of texts"),
        (DAEMON, "{}" + " " * (1 << 20), ("--docker",), "regular file of at most"),
        (HOSTS, "server =", ("--containerd",), "hosts.toml: it is no TOML"),
        (DROP_IN, "[[registry]", ("--podman",), "octopull.conf: it is no TOML"),
        ("etc/containers/registries.conf", "[[registry]]\nlocation='docker.io'", ("--crio",),
         r"registries.conf: it has a \[\[registry\]\] for docker.io already"),
        ("etc/containers/registries.conf.d/999-x.conf", "[[registry]]\nprefix='docker.io'",
         ("--podman",), r"999-x.conf: it has a \[\[registry\]\] for docker.io already"),
        (DROP_IN, "[[registry]]\nprefix='own.example'", ("--podman", "--own", "own.example"),
         'location = "127.0.0.1:5101"|location = \'127.0.0.1:5101\''),
        ("x", "", ("--docker", "--registry", "quay.io"), "docker takes mirrors of docker.io alone"),
        ("x", "", ("--docker", "--own", "docker.io"), "docker takes mirrors of docker.io alone"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_not_touched_nor_anything_else(
    tmp_path: Path, name: str, text: str, words: tuple[str, ...], fault: str
) -> None:
    lay(tmp_path, {name: text})
    before = tree(tmp_path)
    with pytest.raises(Misuse, match=fault):
        # containerd's plan comes first and holds; it must not be carried out.
        install(tmp_path, "--containerd", *words)
    assert tree(tmp_path) == before


def test_bytes_links_and_folders_are_no_files_to_write(tmp_path: Path) -> None:
    daemon = tmp_path / DAEMON
    daemon.parent.mkdir(parents=True)
    daemon.write_bytes(b"\xff{}")
    with pytest.raises(Misuse, match="no UTF-8"):
        install(tmp_path, "--docker")
    daemon.unlink()
    daemon.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misuse, match="not a regular file"):
        install(tmp_path, "--docker")
    daemon.unlink()
    daemon.mkdir()
    with pytest.raises(Misuse, match="not a regular file"):
        install(tmp_path, "--docker")


def test_nothing_outside_the_root_is_written(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "etc").symlink_to(outside)
    with pytest.raises(Misuse, match="leads out of "):
        install(root, "--docker")
    lay(tmp_path, {"other/etc/containerd/config.toml": V2 % "/../../outside"})
    with pytest.raises(Misuse, match="leads out of "):
        install(tmp_path / "other", "--containerd")
    assert not list(outside.iterdir())


def test_what_the_disk_refuses_is_said(tmp_path: Path) -> None:
    lay(tmp_path, {"etc/docker": "a file where a folder belongs"})
    with pytest.raises(Unavailable, match="the disk failed while writing"):
        install(tmp_path, "--docker")


@pytest.mark.parametrize(
    ("files", "where", "said"),
    [
        ({CONFIG: V2 % "/etc/containerd/certs.d"}, "etc/containerd/certs.d/h:1", None),
        ({CONFIG: V3 % "/opt/hosts"}, "opt/hosts/h:1", None),
        ({CONFIG: '[plugins.cri.registry]\nconfig_path = "/opt/a"'}, "opt/a/h:1", None),
        ({CONFIG: V3 % "/opt/a:/opt/b"}, "opt/a/h:1", "issue 12808"),
        ({CONFIG: V3 % "/opt/a:/opt/b", "opt/b/h:1/x": ""}, "opt/b/h:1", "issue 12808"),
        ({"etc/containerd/certs.d/h_1_/x": ""}, "etc/containerd/certs.d/h_1_", "restart"),
        ({CONFIG: "imports = ['conf.d/*.toml', 'config.toml']", "etc/containerd/conf.d/a.toml":
          V2 % "/opt/a", "etc/containerd/conf.d/b.toml": "imports = ['a.toml']\n" + V3 % "/opt/b"},
         "opt/b/h:1", None),
        ({CONFIG: "version = 2\nimports = ['/opt/x.toml']", "opt/x.toml": V2[12:] % "/opt/a"},
         "opt/a/h:1", None),
        # The name of the plugin in another version is no name.
        ({CONFIG: "version = 3" + V2[11:] % "/opt/a"}, "etc/containerd/certs.d/h:1",
         'images".registry]'),
        ({CONFIG: "version = 2" + V3[11:] % "/opt/a"}, "etc/containerd/certs.d/h:1",
         'grpc.v1.cri".registry]'),
        ({CONFIG: "version = [4]\nplugins = 1\nimports = 2"}, "etc/containerd/certs.d/h:1",
         'images".registry]'),
        ({CONFIG: V2.replace('"%s"', "1")}, "etc/containerd/certs.d/h:1", 'grpc.v1.cri".registry]'),
        ({CONFIG: "version = 2\nimports = ['/opt/x.toml']", "opt/x.toml": "version = 3"},
         "etc/containerd/certs.d/h:1", 'grpc.v1.cri".registry]'),
        ({CONFIG: "version = "}, "etc/containerd/certs.d/h:1", "is unknown: "),
    ],
)  # fmt: skip
def test_containerd_is_met_where_it_looks(
    tmp_path: Path, files: dict[str, str], where: str, said: str | None
) -> None:
    lay(tmp_path, files)
    before = tree(tmp_path)
    printed = install(tmp_path, "--containerd", "--registry", "h:1")
    assert (tmp_path / where / "hosts.toml").is_file()
    assert (said or "restart containerd") in printed if said else "config_path" not in printed
    install(tmp_path, "--containerd", "--remove")
    assert tree(tmp_path) == before


def test_the_command_itself_says_a_fault_in_one_line(tmp_path: Path) -> None:
    command = (OCTOPULL, "agent", "install-mirror", "--root", tmp_path, "--podman")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"wrote {tmp_path / DROP_IN}\n" in done.stdout
    (tmp_path / DROP_IN).write_text("[[")
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"octopull: {tmp_path / DROP_IN}: it is no TOML: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install-mirror"], "name the runtime: one or more of --containerd, --docker"),
        (["install-mirror", "--podman", "--registry", "a.b", "--own", "a.b"], "not both"),
        (["install-mirror", "--podman", "extra"], "unexpected extra argument"),
        (["install-mirror", "--podman", "--root", "/no/such"], "does not exist"),
        (["--config", __file__, "install-mirror", "--podman"], "takes no --config"),
        ([], "Missing option '--config'"),
        (["--config", "/no/such"], "does not exist"),
        (["--log-level", "info"], "Missing option '--config'"),
    ],
)
def test_misuse_is_told(words: list[str], said: str) -> None:
    done = CliRunner().invoke(octopull, ["agent", *words])
    assert done.exit_code == 2
    assert said in done.output


def test_the_agent_itself_still_reads_its_config(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("agent: {data: 7}")
    done = CliRunner().invoke(octopull, ["agent", "--config", str(config)])
    assert isinstance(done.exception, Misuse)
    assert "agent.data" in str(done.exception)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
def test_a_file_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    os.chown(path, 12, 34)
    durable.put(path, b"new", like=path)
    told = path.stat()
    assert (told.st_uid, told.st_gid, stat.S_IMODE(told.st_mode)) == (12, 34, 0o604)
    assert path.read_bytes() == b"new"
