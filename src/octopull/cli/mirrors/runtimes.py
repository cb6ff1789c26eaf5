"""What each runtime needs to pull through an agent: which files, and how it takes notice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from octopull.cli.mirrors import blocks, certs_d, daemon_json, hosts_toml, registries_conf
from octopull.cli.mirrors.files import Edit, Files, naming
from octopull.cli.mirrors.names import DOCKER_HUB, Agent, Registry
from octopull.kernel.errors import Misuse

DAEMON_JSON = "/etc/docker/daemon.json"
REGISTRIES_CONF = "/etc/containers/registries.conf"
DROP_INS = f"{REGISTRIES_CONF}.d"
DROP_IN = f"{DROP_INS}/500-octopull.conf"


@dataclass(frozen=True, slots=True)
class Plan:
    """The edits of one runtime, how it takes notice of them, and what else there is to know."""

    edits: Sequence[Edit]
    reload: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime. Its two ways to a plan read files and write none.

    ``remove`` takes the names of registries, none for all of them. Either raises ``Misuse`` if a
    file can't be understood, or says already what would contradict.
    """

    name: str
    writes: str
    install: Callable[[Files, Agent, Sequence[Registry]], Plan]
    remove: Callable[[Files, Agent, Sequence[str]], Plan]


def _install_containerd(files: Files, agent: Agent, registries: Sequence[Registry]) -> Plan:
    roots, notes = certs_d.roots(files)
    edits = []
    for registry in registries:
        name = certs_d.hosts_file(files, roots, registry.name)
        edit = files.added(
            name,
            partial(hosts_toml.install, registry=registry, agent=agent),
            partial(hosts_toml.remove, name=registry.name),
        )
        edits.append(edit)
        notes += certs_d.remarks(edit, registry, agent)
    return Plan(edits, certs_d.RELOAD, notes)


def _remove_containerd(files: Files, agent: Agent, names: Sequence[str]) -> Plan:  # noqa: ARG001 - one signature for all
    roots, _ = certs_d.roots(files)
    edits = [
        files.dropped(name, partial(_without, names=names), folder_too=True)
        for root in dict.fromkeys([*roots, certs_d.ROOT])
        for name in files.matching(f"{root}/*/hosts.toml")
    ]
    return Plan([edit for edit in edits if not edit.idle], certs_d.RELOAD)


def _install_docker(files: Files, agent: Agent, registries: Sequence[Registry]) -> Plan:
    others = [one.name for one in registries if one != Registry(DOCKER_HUB)]
    if len(others) == len(registries):
        raise Misuse(f"docker takes mirrors of {DOCKER_HUB} alone, not of {', '.join(others)}")
    note = (
        f"docker takes mirrors of {DOCKER_HUB} alone: pull what is of {', '.join(others)}"
        f" as {agent.address}/REPOSITORY:TAG"
    )
    edit = files.added(
        DAEMON_JSON,
        partial(daemon_json.install, agent=agent),
        partial(daemon_json.remove, agent=agent),
    )
    return Plan([edit], _DOCKER_RELOAD, [note] if others else [])


def _remove_docker(files: Files, agent: Agent, names: Sequence[str]) -> Plan:
    if names and DOCKER_HUB not in names:
        return Plan([], _DOCKER_RESTART)
    edit = files.dropped(DAEMON_JSON, partial(daemon_json.remove, agent=agent))
    return Plan([] if edit.idle else [edit], _DOCKER_RESTART)


def _install_containers(
    files: Files, agent: Agent, registries: Sequence[Registry], *, reload: str
) -> Plan:
    for name in [REGISTRIES_CONF, *files.matching(f"{DROP_INS}/*.conf")]:
        text = files.read(name) if name != DROP_IN else None
        with naming(files.at(name)):
            taken = registries_conf.prefixes(text or "")
            for registry in registries:
                if registry.name in taken:
                    raise Misuse(registries_conf.refusal(registry, agent))

    def add(text: str) -> str:
        return reduce(lambda so_far, one: registries_conf.install(so_far, one, agent),
                      registries, text)  # fmt: skip

    return Plan([files.added(DROP_IN, add, partial(_without, names=()))], reload)


def _remove_containers(files: Files, agent: Agent, names: Sequence[str], *, reload: str) -> Plan:  # noqa: ARG001 - one signature for all
    edit = files.dropped(DROP_IN, partial(_without, names=names))
    return Plan([] if edit.idle else [edit], reload)


def _without(text: str, *, names: Sequence[str]) -> str:
    """``text`` without our blocks of these names; without all of them if there are none."""
    ours = [name for name in blocks.spans(text) if name in names or not names]
    return reduce(blocks.remove, ours, text)


_DOCKER_RELOAD = "docker takes notice after: systemctl reload docker"
# A reload sets what the file names, and leaves what it no longer names (moby daemon/reload.go).
_DOCKER_RESTART = "docker takes notice after: systemctl restart docker (a reload keeps the mirror)"
_PODMAN_RELOAD = "podman, buildah and skopeo read it at each command: nothing to reload"
_CRIO_RELOAD = "CRI-O takes notice after: systemctl reload crio"

RUNTIMES = (
    Runtime(
        "containerd",
        "a hosts.toml per registry, in /etc/containerd/certs.d or where config_path says",
        _install_containerd,
        _remove_containerd,
    ),
    Runtime("docker", f"registry-mirrors in {DAEMON_JSON}", _install_docker, _remove_docker),
    Runtime(
        "podman",
        DROP_IN,
        partial(_install_containers, reload=_PODMAN_RELOAD),
        partial(_remove_containers, reload=_PODMAN_RELOAD),
    ),
    Runtime(
        "crio",
        DROP_IN,
        partial(_install_containers, reload=_CRIO_RELOAD),
        partial(_remove_containers, reload=_CRIO_RELOAD),
    ),
)
