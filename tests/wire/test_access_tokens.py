"""The bearer tokens of a token service: asked for once, shown to proxy and agent, and of short life."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.embedded_access import MAKE_ONE
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.config.services import AgentConfig
from octopull.oci import challenges
from octopull.security import issuing
from octopull.services.agent.app import run
from support import access
from support.access import SECRET, TOKEN, People, basic, push, shown
from support.registry import Answer, Registry, digest_of
from support.services import started

SERVICE = "registry.example"


@asynccontextmanager
async def up(folder: Path, **more: Any) -> AsyncIterator[Cluster]:
    service = TokenServiceSettings(key=MAKE_ONE, service=SERVICE, **more)
    settings = AccessSettings(**access.files(folder / "access"), token_service=service)
    async with running(folder / "data", 1, Ports(0, "127.0.0.1"), access=settings) as found:
        yield found


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with up(tmp_path) as found:
        yield found


def demanded(answer: Answer) -> dict[str, str]:
    """The parameters of the only challenge."""
    (challenge,) = challenges.parse(answer.headers["WWW-Authenticate"])
    assert challenge.scheme == "bearer"
    return challenge.parameters


async def obtained(
    session: aiohttp.ClientSession, told: dict[str, str], user: str | None = None
) -> str:
    """As a client does that was told where to ask."""
    query = urlencode({"service": told["service"], "scope": told.get("scope", "")})
    headers = {} if user is None else shown(user)
    async with session.get(f"{told['realm']}?{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return f"Bearer {(await answer.json())['token']}"


def grants(bearer: str) -> dict[str, list[str]]:
    """What a token says it grants."""
    claims = jwt.decode(bearer.split()[1], options={"verify_signature": False})
    return {one["name"]: one["actions"] for one in claims["access"]}


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_a_client_is_sent_for_a_token_and_let_in_with_it(
    people: People, session: aiohttp.ClientSession, cluster: Cluster, pushed: bytes, at: str
) -> None:
    told = demanded(await people(None, at)("GET", "/v2/"))
    assert told["service"] == SERVICE
    assert told["realm"] == f"http://{cluster.proxy.address}/token"
    path = "/v2/team/app/manifests/v1"
    told = demanded(await people(None, at)("GET", path))
    assert told["scope"] == "repository:team/app:pull"
    for user, granted, status in (("bob", ["pull"], 200), ("carol", None, 401), (None, None, 401)):
        token = await obtained(session, told, user)
        assert grants(token).get("team/app") == granted
        answer = await people.showing(token, at)("GET", path)
        assert answer.status == status, user
        assert (await people.showing(token, at)("GET", "/v2/")).status == 200
        if status == 401:
            assert demanded(answer)["error"] == "insufficient_scope"
            assert answer.code == "DENIED"


async def test_a_push_needs_a_token_that_grants_it(
    people: People, session: aiohttp.ClientSession, pushed: bytes
) -> None:
    told = demanded(await people(None)("POST", "/v2/team/app/blobs/uploads/"))
    assert told["scope"] == "repository:team/app:pull,push"
    alice, bob = [await obtained(session, told, user) for user in ("alice", "bob")]
    await push(people.showing(alice), "team/app", b"new")
    answer = await people.showing(bob)("POST", "/v2/team/app/blobs/uploads/")
    assert (answer.status, answer.code) == (401, "DENIED")
    assert (
        demanded(answer)["error_description"]
        == "bob may not push to team/app: the token does not grant it"
    )
    # A token is about the repositories it names alone.
    answer = await people.showing(alice)("GET", "/v2/team/other/tags/list")
    assert answer.status == 401
    assert demanded(answer)["scope"] == "repository:team/other:pull"


async def test_what_is_public_needs_no_token_and_a_token_gives_no_other_one(
    people: People, session: aiohttp.ClientSession
) -> None:
    await push(people("alice"), "public/base", SECRET)
    for at in ("proxy", "agent"):
        assert (await people(None, at)("GET", "/v2/public/base/manifests/v1")).status == 200
    token = await obtained(session, demanded(await people(None)("GET", "/v2/")), "alice")
    assert (await people.showing(token)("GET", "/token")).status == 403
    assert (await people.showing(token)("GET", "/metrics")).status == 401


async def test_what_is_of_the_registry_is_granted_to_those_who_may_see_all_of_it(
    people: People, session: aiohttp.ClientSession
) -> None:
    for path, name in (("/v2/_catalog", "catalog"), ("/metrics", "admin")):
        told = demanded(await people(None)("GET", path))
        assert told["scope"] == f"registry:{name}:*"
        for user, status in (("alice", 401), ("root", 200)):
            token = await obtained(session, told, user)
            assert (await people.showing(token)("GET", path)).status == status, (path, user)
    everything = {**told, "scope": "registry:none:* registry:catalog:* repository:NONE:pull"}
    assert grants(await obtained(session, everything, "root")) == {"catalog": ["*"]}


async def test_wrong_passwords_get_no_token(people: People) -> None:
    for header in (basic("alice", "wrong"), basic("mallory"), "Bearer x.y.z", "Basic !"):
        answer = await people.showing(header)("GET", f"/token?service={SERVICE}")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), header
    answer = await people("alice")("GET", "/token?service=another")
    assert answer.status == 400


async def test_tokens_are_given_for_forms_too(people: People) -> None:
    async def ask(**form: str) -> Answer:
        kind = "application/x-www-form-urlencoded"
        body = urlencode({"service": SERVICE, "scope": "repository:team/app:*", **form}).encode()
        return await people(None)("POST", "/token", body, Content_Type=kind)

    password = access.password("alice")
    for form in ({"grant_type": "password", "username": "alice", "password": password},
                 {"grant_type": "refresh_token", "refresh_token": TOKEN}):  # fmt: skip
        answer = await ask(**form)
        assert answer.status == 200, answer
        assert grants(f"Bearer {answer.json['access_token']}") == {
            "team/app": ["pull", "push", "delete"]
        }
        assert answer.headers["Cache-Control"] == "no-store"
    wrong = await ask(grant_type="password", username="alice", password="wrong")
    assert wrong.status == 401
    assert (await ask(grant_type="refresh_token", refresh_token="x")).status == 401
    assert (await ask(grant_type="authorization_code")).status == 400
    for wrong_form in (b"usern\xa8me=a", b"a=b&" * 200):
        kind = "application/x-www-form-urlencoded"
        answer = await people(None)("POST", "/token", wrong_form, Content_Type=kind)
        assert answer.status == 400, wrong_form


async def test_anybody_may_ask_for_little_at_once(
    cluster: Cluster, session: aiohttp.ClientSession, people: People
) -> None:
    scope = " ".join(f"repository:public/{number}:pull" for number in range(11))
    assert (await people(None)("GET", f"/token?{urlencode({'scope': scope})}")).status == 400

    async def unsaid(size: int) -> AsyncIterator[bytes]:
        yield b"grant_type=password&username=alice&password="
        for _ in range(size):
            yield b"x" * 1024

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for size, status in ((1, 401), (64, 413)):
        async with session.post(
            f"{cluster.proxy.url}/token", data=unsaid(size), headers=kind
        ) as answer:
            assert answer.status == status


@pytest.mark.parametrize("at", ["proxy", "agent"])
async def test_a_token_that_expired_or_was_changed_is_refused(
    people: People, session: aiohttp.ClientSession, pushed: bytes, tmp_path: Path, at: str
) -> None:
    path = "/v2/team/app/manifests/v1"
    token = await obtained(session, demanded(await people(None)("GET", path)), "alice")
    head, body, signature = token.split()[1].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    key = serialization.load_pem_private_key((tmp_path / "data" / "token.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stranger = ec.generate_private_key(ec.SECP256R1())
    kid = jwt.get_unverified_header(token.split()[1])["kid"]

    def signed(by: ec.EllipticCurvePrivateKey, **changed: Any) -> str:
        return jwt.encode({**claims, **changed}, by, "ES256", headers={"kid": kid})

    wider = {**claims, "access": [{"type": "repository", "name": "other/app", "actions": ["*"]}]}
    forged = base64.urlsafe_b64encode(json.dumps(wider).encode()).decode().rstrip("=")
    asking = people.showing(f"Bearer {signed(key)}", at)
    assert (await asking("GET", path)).status == 200
    for bad, why in (
        (signed(key, exp=int(time.time()) - 60), "the token has expired"),
        (signed(key, aud="another"), "the token is meant for somebody else"),
        (signed(key, iss="another"), "the token is of an issuer that is not known here"),
        (signed(stranger), "the token is signed by nobody that is known here"),
        (f"{head}.{forged}.{signature}", "the token is signed by nobody that is known here"),
    ):
        answer = await people.showing(f"Bearer {bad}", at)("GET", path)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), why
        found = demanded(answer)
        assert (found["error"], found["error_description"]) == ("invalid_token", why)


async def test_a_mount_asks_for_pull_where_it_comes_from(
    people: People, session: aiohttp.ClientSession, pushed: bytes
) -> None:
    told = demanded(await people(None)("POST", "/v2/public/copy/blobs/uploads/"))
    mount = f"/v2/public/copy/blobs/uploads/?mount={digest_of(SECRET)}&from=team/app"
    token = await obtained(session, told, "alice")
    assert (await people.showing(token)("POST", mount)).status == 202
    both = {**told, "scope": f"{told['scope']} repository:team/app:pull"}
    token = await obtained(session, both, "alice")
    assert (await people.showing(token)("POST", mount)).status == 201


async def test_replication_asks_for_more_than_a_push(
    people: People, session: aiohttp.ClientSession, pushed: bytes
) -> None:
    path = "/v2/team/app/manifests/v9"
    told = demanded(await people(None)("PUT", path, pushed, Octopull_Moved_At="1700000000"))
    assert told["scope"] == "repository:team/app:pull,push,replicate"
    for user, status in (("alice", 401), ("root", 201)):
        token = await obtained(session, told, user)
        answer = await people.showing(token)("PUT", path, pushed, Octopull_Moved_At="1700000000")
        assert answer.status == status


async def test_an_agent_needs_neither_rules_nor_users_where_tokens_decide(
    cluster: Cluster, people: People, session: aiohttp.ClientSession, pushed: bytes, tmp_path: Path
) -> None:
    realm = f"http://{cluster.proxy.address}/token"
    service = TokenServiceSettings(service=SERVICE, realm=realm, jwks=f"{realm}/keys")
    config = AgentConfig(
        data=str(tmp_path / "agent"), trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address],
        access=AccessSettings(token_service=service, tokens=str(tmp_path / "access/tokens.yaml")),
    )  # fmt: skip
    async with started(run, config) as agent:
        path = "/v2/team/app/manifests/v1"
        told = demanded(await Registry(session, agent.address)("GET", path))
        for user, status in (("bob", 200), ("carol", 401), (None, 401)):
            token = await obtained(session, told, user)
            answer = await Registry(session, agent.address)("GET", path, Authorization=token)
            assert answer.status == status
        answer = await Registry(session, agent.address)("GET", path, **shown("bob"))
        assert answer.status == 401
        assert demanded(answer)["error_description"] == "no passwords are taken here, only tokens"
        kept = {"Authorization": f"Bearer {TOKEN}"}
        answer = await Registry(session, agent.address)("GET", path, **kept)
        assert (answer.status, answer.code) == (401, "DENIED")
        assert demanded(answer)["error_description"].endswith(
            "only a token of the token service grants it"
        )


async def test_a_key_that_left_still_proves_what_it_signed_if_it_is_kept_beside(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    path = "/v2/team/app/tags/list"
    old, new, public = tmp_path / "old.key", tmp_path / "new.key", tmp_path / "old.pem"
    for key in (old, new):
        issuing.made(key)
    public.write_bytes(
        issuing.parse(old.read_bytes()).public.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    files = access.files(tmp_path / "access")
    settings = [
        TokenServiceSettings(key=str(old), service=SERVICE),
        TokenServiceSettings(key=str(new), keys=str(public), service=SERVICE),
        TokenServiceSettings(key=str(new), service=SERVICE),
    ]
    token, statuses = "", []
    for one in settings:
        async with running(
            tmp_path / "data", 0, Ports(0, "127.0.0.1"),
            access=AccessSettings(**files, token_service=one),
        ) as cluster:  # fmt: skip
            proxy = Registry(session, cluster.proxy.address)
            token = token or await obtained(session, demanded(await proxy("GET", path)), "bob")
            statuses.append((await proxy("GET", path, Authorization=token)).status)
    assert statuses == [404, 404, 401]
