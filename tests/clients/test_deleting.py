"""Deleted by a client, gone for all: at the proxy at once, at agents within seconds."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oci_image import Layer, build
from registry_clients import ClientFailed, Podman, Skopeo, run
from support.clients import Clients
from support.sdk_clients import Oras

INSECURE = "--tls-verify=false"
LAG_S = 15.0


def by_skopeo(clients: Clients, registry: str, name: str) -> None:
    clients(Skopeo)
    run("skopeo", "delete", INSECURE, f"docker://{registry}/{name}")


def by_oras(clients: Clients, registry: str, name: str) -> None:
    oras = Oras(registry)
    repository, _, tag = name.partition(":")
    assert oras.sdk.delete_tag(f"{registry}/{repository}", tag)
    oras.close()


DELETING = {"skopeo": by_skopeo, "oras": by_oras}


def push(clients: Clients, registry: str, name: str, folder: Path) -> Path:
    """Push an image like no other, named ``name``; its layout."""
    (folder / "motto").write_text(name)
    image = build(folder / "image", "v1", [Layer(folder / "motto", "etc", compressed=True)])
    clients(Skopeo).push(image.folder, "v1", f"{registry}/{name}")
    return image.folder


def digest(registry: str, name: str) -> str:
    return str(
        json.loads(run("skopeo", "inspect", INSECURE, f"docker://{registry}/{name}"))["Digest"]
    )


def gone(registry: str, name: str) -> bool:
    try:
        digest(registry, name)
    except ClientFailed as failure:
        assert "manifest unknown" in str(failure)  # noqa: PT017 - any other failure is a defect
        return True
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    until, pause = time.monotonic() + LAG_S, threading.Event()
    while not holds():
        assert time.monotonic() < until
        pause.wait(0.1)


@pytest.mark.parametrize("client", DELETING)
def test_what_a_client_deletes_is_gone_and_can_be_pushed_again(
    clients: Clients, proxy: str, agent: str, tmp_path: Path, client: str
) -> None:
    name = f"deleting/{client}:v1"
    layout = push(clients, proxy, name, tmp_path)
    before = digest(proxy, name)
    clients(Skopeo).pull(agent, name, tmp_path / "before")
    DELETING[client](clients, proxy, name)
    assert gone(proxy, name)
    assert gone(proxy, f"{name.partition(':')[0]}@{before}")
    wait_until(lambda: gone(agent, name))
    wait_until(lambda: gone(agent, f"{name.partition(':')[0]}@{before}"))
    clients(Skopeo).push(layout, "v1", f"{proxy}/{name}")
    assert digest(proxy, name) == before
    clients(Skopeo).pull(agent, name, tmp_path / "again")
    assert (tmp_path / "again" / "etc" / "motto").read_text() == name


def test_an_agent_deletes_nothing(clients: Clients, proxy: str, agent: str, tmp_path: Path) -> None:
    push(clients, proxy, "deleting/agent:v1", tmp_path)
    with pytest.raises(ClientFailed):
        by_skopeo(clients, agent, "deleting/agent:v1")
    assert digest(proxy, "deleting/agent:v1") == digest(agent, "deleting/agent:v1")


def test_podman_finds_the_repositories_there_are(
    clients: Clients, proxy: str, agent: str, tmp_path: Path
) -> None:
    podman = clients(Podman)
    push(clients, proxy, "deleting/found:v1", tmp_path)
    for registry in (proxy, agent):
        found = podman.run("search", INSECURE, f"{registry}/").splitlines()
        assert f"{registry}/deleting/found" in [line.split()[0] for line in found]
