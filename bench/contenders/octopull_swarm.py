"""octopull: origins and agents on hosts of their own; tracker, tag index and proxy on the hub."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.clients import get_json, pull_all
from harness.lab import Host
from harness.processes import cpu_s
from harness.registry import push_file
from harness.swarming import SETTLE_S, Ground, Pulled
from support.cluster import Process

STARTED_AT_ONCE = 4
"""Interpreters that start at the same time; more would each take too long."""

PORTS = {"tracker": 7001, "tag_index": 7002, "proxy": 7003, "origin": 7004, "agent": 7005}


@dataclass(frozen=True)
class _Service:
    """A process, and what it prints when it takes connections."""

    process: Process
    ready: str


def pull(ground: Ground) -> Pulled:
    """Push before the links are capped; then every host's client asks its own agent."""
    with ExitStack() as stack:
        front = _front(stack, ground)
        _await(front)
        agents = list[_Service]()
        for host in ground.pullers:
            agents.append(_start(stack, ground, "agent", host, _agent(ground)))
            if len(agents) % STARTED_AT_ONCE == 0:
                _await(agents[-STARTED_AT_ONCE:])
        _await(agents)
        _push(ground)
        ground.cap()
        time.sleep(SETTLE_S)
        # The tag index and the proxy have no part in pulling a blob.
        counted = [one.process.pid for one in (*front[: ground.seeds + 1], *agents)]
        before_s = cpu_s(counted)
        seconds = pull_all(
            ground.pullers, lambda _: ("127.0.0.1", PORTS["agent"]),
            f"/v2/bench/blobs/{ground.digest}", ground.digest, ground.scenario.size,
            ground.scenario.deadline_s,
        )  # fmt: skip
        used_s = cpu_s(counted) - before_s
        documents = [_status(ground, host) for host in ground.pullers]
    return Pulled(seconds, used_s, _from_origins(documents), _wasted(documents))


def _front(stack: ExitStack, ground: Ground) -> list[_Service]:
    """Origins and tracker first, then tag index and proxy."""
    hub = ground.lab.hub
    origins = _places(ground)
    ring = {"origins": origins, "replicas": ground.seeds}
    settings: dict[str, dict[str, Any]] = {
        "tracker": ring,
        "tag_index": {**ring, "data": str(ground.folder / "tag_index" / "data")},
        "proxy": {**ring, "tag_indexes": [f"{hub.address}:{PORTS['tag_index']}"]},
    }
    return [
        *(
            _start(stack, ground, "origin", host, {
                **ring, "name": name, "data": str(ground.folder / host.name / "data"),
                "peer": {"listen": {"host": host.address}},
            })
            for host, name in zip(ground.origins, origins, strict=True)
        ),
        *(_start(stack, ground, name, hub, settings[name]) for name in settings),
    ]  # fmt: skip


def _places(ground: Ground) -> list[str]:
    return [f"{host.address}:{PORTS['origin']}" for host in ground.origins]


def _agent(ground: Ground) -> dict[str, Any]:
    hub = ground.lab.hub.address
    return {"trackers": [f"{hub}:{PORTS['tracker']}"],
            "tag_indexes": [f"{hub}:{PORTS['tag_index']}"]}  # fmt: skip


def _start(
    stack: ExitStack, ground: Ground, service: str, host: Host, settings: dict[str, Any]
) -> _Service:
    """Start one service on ``host``; it is killed at the end, when nothing of it is needed."""
    folder = ground.folder / (service if host is ground.lab.hub else host.name)
    folder.mkdir()
    address = host.address
    if service == "agent":
        # Its clients are on its own host, its peers are not.
        address = "127.0.0.1"
        settings = {**settings, "data": str(folder / "data"),
                    "peer": {"listen": {"host": host.address}}}  # fmt: skip
    port, config = PORTS[service], folder / "config.yaml"
    listen = {"host": address, "port": port}
    config.write_text(yaml.safe_dump({service: {**settings, "listen": listen}}))
    verb = service.replace("_", "-")
    with host.inside():
        process = Process(folder / "log", verb, "--config", config)
    stack.callback(process.kill)
    return _Service(process, f"listens on {address}:{port}")


def _await(services: list[_Service]) -> None:
    for service in services:
        service.process.wait_for_text(service.ready)


def _push(ground: Ground) -> None:
    hub = ground.lab.hub
    with hub.inside():
        push_file(f"http://{hub.address}:{PORTS['proxy']}", "bench", ground.blob, ground.digest)


def _status(ground: Ground, host: Host) -> dict[str, Any]:
    """An agent's own account, kept beside its log."""
    document = get_json(host, ("127.0.0.1", PORTS["agent"]), "/status")
    path: Path = ground.folder / host.name / "status.json"
    path.write_text(json.dumps(document, indent=2))
    return document


def _from_origins(documents: list[dict[str, Any]]) -> int:
    return sum(
        row["bytes"]
        for document in documents
        for row in document["received"]
        if row["kind"] == "origin"
    )


def _wasted(documents: list[dict[str, Any]]) -> int:
    return sum(document["wasted_bytes"] for document in documents)
