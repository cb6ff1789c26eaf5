"""Stock clients that log in, are refused, and are told why: by passwords, and by tokens."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from oci_image import Image, Layer, build
from octopull.config.access import TokenServiceSettings
from octopull.security import issuing
from octopull.security.scopes import Scope
from registry_clients import ClientFailed, Containerd, Docker, Podman, Skopeo, run
from support import access
from support.clients import Clients
from support.cluster import OCTOPULL, content, up

INSECURE = "--tls-verify=false"
IMAGE, PUBLIC = "team/app:v1", "public/app:v1"
LONG_AGO_S = 1_700_000_000.0
TOKENS = pytest.mark.parametrize("site", ["tokens"], indirect=True)
"""The way of proof makes no difference, or there is just one: once is enough."""


@dataclass(frozen=True)
class Site:
    """A cluster where callers prove who they are in one way."""

    mode: str
    proxy: str
    agent: str
    key: Path

    def words(self, passwords: str, tokens: str) -> str:
        """What a client says that is asked in this way."""
        return tokens if self.mode == "tokens" else passwords


@pytest.fixture(scope="module")
def small(folder: Path) -> Image:
    """One layer of 100 kB."""
    (folder / "small.bin").write_bytes(content(100_000, 3))
    return build(folder / "small", "v1", [Layer(folder / "small.bin", "data", compressed=True)])


@pytest.fixture(scope="module", params=["passwords", "tokens"])
def site(request: pytest.FixtureRequest, folder: Path, small: Image) -> Iterator[Site]:
    here = folder / request.param
    settings: dict[str, Any] = access.files(here / "access")
    if request.param == "tokens":
        settings["token_service"] = {"key": "generate"}
    (here / "access.yaml").write_text(yaml.safe_dump({"access": settings}))
    with up(here / "cluster", "--agents", "1", "--access", str(here / "access.yaml")) as found:
        key = here / "cluster" / "data" / "token.key"
        one = Site(request.param, found["proxy"], found["agents"][0]["http"], key)
        for name in (IMAGE, PUBLIC):
            skopeo_copies(small, f"{one.proxy}/{name}", "alice")
        yield one


def pair(user: str) -> str:
    return f"{user}:{access.password(user)}"


def skopeo_copies(image: Image, target: str, user: str) -> str:
    return run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false",
               "--dest-creds", pair(user), f"oci:{image.folder}:v1", f"docker://{target}")  # fmt: skip


Run = Callable[..., str]


def logins(clients: Clients, client: str, folder: Path) -> Run:
    """A client, run with a file of logins of its own."""
    if client == "docker":
        return clients(Docker).run
    file = ("--authfile", folder / "auth.json")
    if client == "podman":
        podman = clients(Podman)
        return lambda verb, *words: podman.run(verb, *file, INSECURE, *words)
    clients(Skopeo)
    return lambda verb, *words: run("skopeo", verb, *file, INSECURE, *words)


def test_skopeo_pushes_and_pulls_as_who_may_and_says_why_others_may_not(
    clients: Clients, site: Site, small: Image
) -> None:
    clients(Skopeo)

    def inspect(*words: str) -> str:
        return run("skopeo", "inspect", INSECURE, *words, f"docker://{site.agent}/{IMAGE}")

    assert small.digest in inspect("--creds", pair("bob"))
    assert "sha256" in run("skopeo", "inspect", INSECURE, f"docker://{site.agent}/{PUBLIC}")
    why = site.words("no rule allows it", "the token does not grant it")
    with pytest.raises(ClientFailed, match=f"denied: carol may not pull from team/app: {why}"):
        inspect("--creds", pair("carol"))
    with pytest.raises(
        ClientFailed, match="somebody who is not logged in may not pull from team/app"
    ):
        inspect()
    with pytest.raises(ClientFailed, match=site.words("invalid username/password|wrong user",
                                                      "invalid username/password")):  # fmt: skip
        inspect("--creds", "bob:wrong")
    with pytest.raises(ClientFailed, match=f"denied: bob may not push to team/app: {why}"):
        skopeo_copies(small, f"{site.proxy}/team/app:v2", "bob")
    with pytest.raises(ClientFailed, match="bob may not delete from team/app"):
        run("skopeo", "delete", INSECURE, "--creds", pair("bob"), f"docker://{site.proxy}/{IMAGE}")


@pytest.mark.parametrize("client", ["skopeo", "podman", "docker"])
def test_a_login_succeeds_with_the_right_password_alone(
    clients: Clients, site: Site, tmp_path: Path, client: str
) -> None:
    client_run = logins(clients, client, tmp_path)
    refused = "invalid username/password|unauthorized: wrong user or password|401 Unauthorized"
    for registry in (site.proxy, site.agent):
        with pytest.raises(ClientFailed, match=refused):
            client_run("login", "-u", "bob", "-p", "wrong", registry)
        told = client_run("login", "-u", "bob", "-p", access.password("bob"), registry)
        assert "login succeeded" in told.lower()


def test_podman_pulls_through_the_agent_and_can_not_push(
    clients: Clients, site: Site, tmp_path: Path
) -> None:
    podman, client_run = clients(Podman), logins(clients, "podman", tmp_path)
    for registry in (site.proxy, site.agent):
        client_run("login", "-u", "bob", "-p", access.password("bob"), registry)
    image = client_run("pull", *podman.policy, f"{site.agent}/{IMAGE}").strip()
    with pytest.raises(ClientFailed, match="denied: bob may not push to team/app"):
        client_run("push", *podman.policy, image, f"docker://{site.proxy}/team/app:v3")
    podman.run("rmi", "--force", image)
    with pytest.raises(ClientFailed, match="not logged in may not pull from team/app"):
        podman.run("pull", INSECURE, *podman.policy, f"{site.agent}/{IMAGE}")


def test_docker_pulls_through_the_agent_and_can_not_push(clients: Clients, site: Site) -> None:
    docker = clients(Docker)
    for registry in (site.proxy, site.agent):
        docker.run("login", "-u", "bob", "-p", access.password("bob"), registry)
    docker.run("pull", f"{site.agent}/{IMAGE}")
    docker.run("tag", f"{site.agent}/{IMAGE}", f"{site.proxy}/team/app:v4")
    with pytest.raises(ClientFailed, match="denied: bob may not push to team/app"):
        docker.run("push", f"{site.proxy}/team/app:v4")
    for registry in (site.proxy, site.agent):
        docker.run("logout", registry)
    docker.run("rmi", f"{site.agent}/{IMAGE}", f"{site.proxy}/team/app:v4")
    told = site.words(
        "no basic auth credentials", "pull access denied .* not logged in may not pull"
    )
    with pytest.raises(ClientFailed, match=told):
        docker.run("pull", f"{site.agent}/{IMAGE}")


def test_containerd_pulls_through_the_agent_and_can_not_push(clients: Clients, site: Site) -> None:
    containerd = clients(Containerd)
    pull = ("images", "pull", "--snapshotter", "native", "--plain-http")
    name = f"{site.agent}/{IMAGE}"
    for user, told in (
        ("bob:wrong", "401 Unauthorized"),
        (pair("carol"), site.words("403 Forbidden", "insufficient_scope")),
    ):
        with pytest.raises(ClientFailed, match=told):
            containerd.run(*pull, "--user", user, name)
    containerd.run(*pull, "--user", pair("bob"), name)
    push = ("images", "push", "--plain-http")
    # Whichever of its requests is refused first; it streams a body before it is asked for one.
    refused = site.words("403 Forbidden", "insufficient_scope")
    with pytest.raises(ClientFailed, match=f"{refused}|closed pipe"):
        containerd.run(*push, "--user", pair("bob"), f"{site.proxy}/team/app:v5", name)
    containerd.run(*push, "--user", pair("alice"), f"{site.proxy}/team/app:v5", name)
    containerd.run("images", "rm", name)


@TOKENS
def test_an_expired_token_is_told_as_such(clients: Clients, site: Site) -> None:
    clients(Skopeo)
    settings = TokenServiceSettings(key=str(site.key))
    grants = (Scope("repository", "team/app", ("pull",)),)
    token = issuing.parse(site.key.read_bytes()).token(settings, "bob", grants, LONG_AGO_S)
    with pytest.raises(ClientFailed, match="unauthorized: the token has expired"):
        run("skopeo", "inspect", INSECURE, "--registry-token", token,
            f"docker://{site.agent}/{IMAGE}")  # fmt: skip


@TOKENS
def test_octopulls_own_push_and_pull_show_dockers_logins(
    site: Site, small: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_in(user: str, word: str) -> None:
        auth = base64.b64encode(f"{user}:{word}".encode()).decode()
        hosts = {registry: {"auth": auth} for registry in (site.proxy, site.agent)}
        (tmp_path / "config.json").write_text(json.dumps({"auths": hosts}))

    def push() -> str:
        return run(OCTOPULL, "push", small.folder, "team/own:v1", "--to", f"http://{site.proxy}")

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    log_in("alice", access.password("alice"))
    assert push().strip() == f"team/own:v1@{small.digest}"
    log_in("bob", access.password("bob"))
    pull = ("pull", "team/own:v1", tmp_path / "out", "--from", f"http://{site.agent}")
    assert run(OCTOPULL, *pull).strip() == f"team/own:v1@{small.digest}"
    with pytest.raises(ClientFailed, match="bob may not push to team/own"):
        push()
    log_in("bob", "wrong")
    with pytest.raises(ClientFailed, match=f"{site.agent} refuses the login in {tmp_path}"):
        run(OCTOPULL, *pull)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        ClientFailed, match=r"not logged in may not pull from team/own|docker login"
    ):
        run(OCTOPULL, *pull)


@TOKENS
def test_status_shows_what_agents_do_to_administrators_alone(site: Site, tmp_path: Path) -> None:
    ask = (OCTOPULL, "status", "--json", "--proxy", site.proxy, "--agent", site.agent)
    for user, lacking in (("root", ""), ("bob", "bob may not administer this service")):
        (tmp_path / user).write_text(pair(user))
        words = [*map(str, ask), "--credentials", str(tmp_path / user)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        proxy, agent = json.loads(done.stdout)
        assert (proxy["lacking"], agent["agent"] is None) == ("", bool(lacking))
        assert agent["lacking"].startswith(lacking), agent


@TOKENS
def test_the_command_says_what_clients_are_told(site: Site) -> None:
    rules = site.key.parents[2] / "access" / "policy.yaml"
    told = run(OCTOPULL, "policy", "check", "alice", "push", "team/app", "--policy", rules)
    assert told.startswith("allowed: rule 2 allows it to user:alice\n")
    with pytest.raises(ClientFailed, match="denied: no rule allows it"):
        run(OCTOPULL, "policy", "check", "bob", "push", "team/app", "--policy", rules)
