"""Where containerd looks for ``hosts.toml``: the ``config_path`` of its CRI plugin.

The plugin's name goes with the ``version`` of ``config.toml`` (containerd docs/hosts.md, "CRI"):
containerd 1.x writes version 2, 2.x writes version 3 and reads both.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from octopull.cli.mirrors import hosts_toml, toml
from octopull.cli.mirrors.files import Edit, Files, naming
from octopull.cli.mirrors.names import Agent, Registry
from octopull.kernel.errors import Misuse

CONFIG = "/etc/containerd/config.toml"
ROOT = "/etc/containerd/certs.d"
RELOAD = "containerd reads hosts.toml at each pull: nothing to reload"
IMPORTS_MAX = 100
PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
RELEASES = {
    1: "containerd 1.x",
    2: "containerd 1.x; 2.x reads such a file, too",
    3: "containerd 2.x",
}


@dataclass(slots=True)
class _Said:
    """What ``config.toml`` says; of its imports, the last one that says a thing counts.

    ``version`` is 0 without a file.
    """

    version: int = 0
    config_path: str = ""
    mirrors: bool = False


def roots(files: Files) -> tuple[list[str], list[str]]:
    """The folders that containerd searches, in its order, and what there is to say of them.

    Without a ``config_path`` that is ``ROOT``, and how to make containerd read it.
    """
    said = _Said()
    try:
        _read(files, CONFIG, said, [])
    except Misuse as fault:
        return [ROOT], [f"whether containerd reads {ROOT} is unknown: {fault}"]
    found = [path for path in said.config_path.split(":") if path.startswith("/")]
    if not found:
        return [ROOT], [_advice(said)]
    several = (
        f"config_path names {len(found)} folders, and containerd 2.2 may then read none (its"
        f" issue 12808): if pulls pass the agent by, let it be {found[0]} alone"
    )
    return found, [several] if len(found) > 1 else []


def hosts_file(files: Files, searched: list[str], registry: str) -> str:
    """The file that containerd reads for ``registry``, or would read.

    It takes the first folder that exists; a port may be written ``host_5000_`` in it.
    """
    host, _, port = registry.partition(":")
    spellings = [f"{host}_{port}_", registry] if port else [registry]
    folders = [f"{root}/{spelling}" for root in searched for spelling in spellings]
    there = [folder for folder in folders if files.at(folder).is_dir()]
    return f"{(there or [f'{searched[0]}/{registry}'])[0]}/hosts.toml"


def remarks(edit: Edit, registry: Registry, agent: Agent) -> list[str]:
    """What an edit of ``hosts.toml`` changes or leaves that one may not expect."""
    found = []
    default = edit.path.parent.parent / "_default" / "hosts.toml"
    if edit.before is None and default.exists():
        found.append(f"{default} no longer counts for {registry.name}")
    last = hosts_toml.server(edit.after or "")
    if registry.own and last is not None and last != agent.url:
        found.append(f"{edit.path} still asks {last} after the agent")
    return found


def _advice(said: _Said) -> str:
    """What to add to ``config.toml`` of this version, or of either if it has none."""
    lines = [f"containerd's CRI plugin (Kubernetes) does not read {ROOT} yet. Add to {CONFIG}"]
    for version in [said.version] if said.version else [2, 3]:
        lines += [
            f"  # {RELEASES[version]}",
            *([] if said.version else [f"  version = {version}"]),
            f'  [plugins."{PLUGINS[version]}".registry]',
            f'    config_path = "{ROOT}"',
        ]
    if said.mirrors:
        lines.append("take out its registry.mirrors, which containerd refuses beside config_path,")
    return "\n".join([*lines, "and then: systemctl restart containerd"])


def _read(files: Files, name: str, said: _Said, seen: list[str]) -> None:
    if name in seen or len(seen) >= IMPORTS_MAX:
        return
    seen.append(name)
    text = files.read(name)
    if text is None:
        return
    with naming(files.at(name)):
        document = toml.parse(text)
    stated = document.get("version", said.version or 1)
    version = stated if isinstance(stated, int) and stated in PLUGINS else max(PLUGINS)
    said.version = said.version or version
    registry = toml.table(document, "plugins", PLUGINS[version], "registry")
    path = registry.get("config_path")
    said.config_path = path if isinstance(path, str) and path else said.config_path
    said.mirrors |= bool(registry.get("mirrors"))
    imports = document.get("imports", [])
    for pattern in imports if isinstance(imports, list) else []:
        for one in files.matching(str(PurePosixPath(name).parent / str(pattern))):
            _read(files, one, said, seen)
