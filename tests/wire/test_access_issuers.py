"""Tokens of an issuer that is not ours (OpenID Connect): keys found, fetched seldom, and believed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.access import AccessSettings, IssuerSettings
from octopull.config.services import Listen
from octopull.config.tls import Tls
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import serve
from octopull.kernel.errors import Misuse, Unavailable
from octopull.registry.access import keys
from octopull.registry.access.keys import FetchedKeys
from octopull.runtime.tasks import Tasks
from octopull.security import issuing
from octopull.security.key_sets import SET_BYTES_MAX, Key, KeySet
from support import access
from support.access import People, basic, push
from support.client_certificates import certificate
from support.servers.front import listening
from support.waiting import until

PATH = "/v2/acme/app/manifests/v1"
RULES = [*access.RULES, {"who": ["claim:idp:repository=acme/*"], "repositories": ["acme/*"],
                         "actions": ["pull", "push"]}]  # fmt: skip


@dataclass
class Idp:
    """An issuer that serves its document and keys; ``fetched`` counts how often the latter."""

    url: str = ""
    private: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict[str, rsa.RSAPrivateKey])
    fetched: int = 0
    body: bytes | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    named: str = ""

    def rotate(self, name: str) -> None:
        self.private = {name: rsa.generate_private_key(65537, 2048)}

    async def document(self, _: web.Request) -> web.Response:
        found = {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}
        return web.json_response(found)

    async def keys(self, _: web.Request) -> web.Response:
        self.fetched += 1
        await self.answers.wait()
        every = [Key(name, one.public_key()) for name, one in self.private.items()]
        return web.Response(body=self.body or issuing.shown(KeySet(tuple(every))))

    def token(self, **changed: Any) -> str:
        claims = {"iss": self.url, "aud": "octopull", "sub": "repo:acme/app",
                  "exp": int(time.time()) + 60, "repository": "acme/app", **changed}  # fmt: skip
        ((name, private),) = self.private.items()
        return jwt.encode(claims, private, "RS256", headers={"kid": name})


@pytest.fixture
async def idp() -> AsyncIterator[Idp]:
    one = Idp()
    one.rotate("first")
    one.answers.set()
    app = web.Application()
    app.add_routes(
        [web.get("/.well-known/openid-configuration", one.document), web.get("/keys", one.keys)]
    )
    async with listening(web.AppRunner(app, shutdown_timeout=0)) as address:
        one.url = f"http://{address}"
        yield one
        one.answers.set()


@pytest.fixture
async def cluster(tmp_path: Path, idp: Idp) -> AsyncIterator[Cluster]:
    files = access.files(tmp_path / "access")
    access.write_rules(tmp_path / "access" / "policy.yaml", RULES)
    issuer = IssuerSettings(name="idp", issuer=idp.url, audience="octopull")
    settings = AccessSettings(**files, issuers=[issuer])
    async with running(tmp_path / "data", 1, Ports(0, "127.0.0.1"), access=settings) as found:
        yield found


@pytest.fixture
async def people(cluster: Cluster) -> AsyncIterator[People]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield People(session, cluster)


@pytest.fixture
async def tasks(http: Http) -> AsyncIterator[Tasks]:
    async with Tasks() as one:
        yield one


async def test_an_issuers_token_pushes_and_pulls_by_its_claims(people: People, idp: Idp) -> None:
    await push(people.showing(f"Bearer {idp.token()}"), "acme/app", b"layer")
    for shown in (f"Bearer {idp.token()}", basic("whoever", idp.token())):
        for at in ("proxy", "agent"):
            assert (await people.showing(shown, at)("GET", PATH)).status == 200
    other = people.showing(f"Bearer {idp.token(repository='evil/app')}")
    answer = await other("GET", PATH)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert "idp:repo:acme/app may not pull" in answer.json["errors"][0]["message"]
    for changed in ({"aud": "another"}, {"exp": 1}, {"iss": "https://another"}):
        asking = people.showing(f"Bearer {idp.token(**changed)}")
        assert (await asking("GET", PATH)).status == 401, changed
    assert idp.fetched == 2, "once by the proxy, once by the agent"


async def test_keys_that_change_are_fetched_and_old_ones_no_longer_count(
    people: People, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "PAUSE_S", 0.0)
    before = idp.token()
    await push(people.showing(f"Bearer {before}"), "acme/app", b"layer")
    idp.rotate("second")
    assert (await people.showing(f"Bearer {idp.token()}")("GET", PATH)).status == 200
    assert (await people.showing(f"Bearer {before}")("GET", PATH)).status == 401


async def test_tokens_with_unknown_keys_make_no_more_than_one_fetch(
    http: Http, tasks: Tasks, idp: Idp
) -> None:
    fetching = FetchedKeys(http, idp.url, "", tasks)
    found = await asyncio.gather(*(fetching.named(f"key {number}") for number in range(50)))
    assert found == [[]] * 50
    assert idp.fetched == 1
    assert len(await fetching.named("first")) == 1


async def test_known_keys_count_on_while_the_issuer_is_away_and_unknown_ones_are_waited_for(
    http: Http, tasks: Tasks, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_S", 0.2)
    idp.answers.clear()
    never = FetchedKeys(http, idp.url, "", tasks)
    with pytest.raises(Unavailable, match="can't be had now"):
        await never.named("first")
    idp.answers.set()
    fetching = FetchedKeys(http, idp.url, f"{idp.url}/keys", tasks)
    assert len(await fetching.named("first")) == 1
    monkeypatch.setattr(keys, "PAUSE_S", 0.0)
    monkeypatch.setattr(keys, "FRESH_S", 0.0)
    idp.answers.clear()
    assert len(await fetching.named("first")) == 1


async def test_who_shows_a_known_key_waits_for_no_issuer_that_hangs(
    http: Http, tasks: Tasks, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_S", 60.0)
    fetching = FetchedKeys(http, idp.url, "", tasks)
    assert len(await fetching.named("first")) == 1
    monkeypatch.setattr(keys, "PAUSE_S", 0.0)
    monkeypatch.setattr(keys, "FRESH_S", 0.0)
    idp.answers.clear()
    idp.rotate("second")
    async with asyncio.timeout(10):
        for _ in range(5):
            assert len(await fetching.named("first")) == 1
    assert idp.fetched <= 2, "one at a time"
    idp.answers.set()

    async def changed() -> bool:
        return not await fetching.named("first")

    # Fetched all the same, behind their backs.
    await until(changed, 10)
    assert len(await fetching.named("second")) == 1


async def test_keys_that_are_too_old_prove_nothing_while_the_issuer_is_away(
    http: Http, tasks: Tasks, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_S", 0.2)
    fetching = FetchedKeys(http, idp.url, "", tasks)
    assert len(await fetching.named("first")) == 1
    for limit in ("PAUSE_S", "FRESH_S", "STALE_S"):
        monkeypatch.setattr(keys, limit, 0.0)
    idp.answers.clear()
    with pytest.raises(Unavailable, match="can't be had now"):
        await fetching.named("first")


@pytest.mark.parametrize(
    "body", [b"x", b"{}", b"x" * (SET_BYTES_MAX + 1), json.dumps([1]).encode()]
)
async def test_what_is_no_set_of_keys_proves_nothing(
    http: Http, tasks: Tasks, idp: Idp, body: bytes
) -> None:
    idp.body = body
    with pytest.raises(Unavailable):
        await FetchedKeys(http, idp.url, "", tasks).named("first")


async def test_keys_are_fetched_from_whom_the_named_authority_vouches_for_and_nobody_else(
    idp: Idp, http: Http, tasks: Tasks, tmp_path: Path
) -> None:
    own, other = certificate(tmp_path, "idp"), certificate(tmp_path, "other")
    app = application("idp")
    app.add_routes([web.get("/.well-known/openid-configuration", idp.document),
                    web.get("/keys", idp.keys)])  # fmt: skip
    tls = Tls(certificate=own[0], key=own[1])
    async with serve(app, "idp", Listen(tls=tls)) as listening:
        idp.url = listening.url
        for jwks in ("", f"{idp.url}/keys"):
            vouched = FetchedKeys(http, idp.url, jwks, tasks, own[0])
            assert [key.id for key in await vouched.named("first")] == ["first"]
            for authority in (other[0], ""):
                refused = FetchedKeys(http, idp.url, jwks, tasks, authority)
                with pytest.raises(Unavailable):
                    await refused.named("first")


async def test_an_authority_that_cant_be_read_is_told_at_the_start(
    tmp_path: Path, idp: Idp
) -> None:
    files = access.files(tmp_path / "access")
    issuer = IssuerSettings(name="idp", issuer=idp.url, audience="x", authority="/nowhere.pem")
    settings = AccessSettings(**files, issuers=[issuer])
    with pytest.raises(ExceptionGroup) as refused:
        async with running(tmp_path / "data", 0, Ports(0, "127.0.0.1"), access=settings):
            pass
    assert refused.group_contains(Misuse, match="no certificates of an authority", depth=None)


async def test_a_document_of_another_issuer_is_not_believed(
    http: Http, tasks: Tasks, idp: Idp
) -> None:
    idp.named = "https://another"
    with pytest.raises(Unavailable):
        await FetchedKeys(http, idp.url, "", tasks).named("first")
    assert idp.fetched == 0
