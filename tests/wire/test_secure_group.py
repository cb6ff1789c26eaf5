"""Three tag indexes that share a book under TLS: they agree, and pass on to the one that leads."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from octopull.clients.tag_index import TagIndex
from octopull.config.services import Listen, TagIndexConfig
from octopull.http.client import Http, among_services
from octopull.kernel.errors import Denied, Fault
from octopull.security.roles import Role
from octopull.services.tag_index.app import run
from support.authorities import new
from support.ports import free_ports
from support.services import started
from support.waiting import until

SOON_S = 30.0


async def counts(http: Http, host: str) -> bool:
    try:
        found = await http.json("GET", f"http://{host}/agreement", dict[str, Any])
    except Fault:
        return False
    return bool(found["leader"])


async def test_a_group_agrees_and_answers_through_each(tmp_path: Path) -> None:
    authority = new(tmp_path / "certificates")
    files = authority.files(Role.TAG_INDEX)
    hosts = [f"127.0.0.1:{port}" for port in free_ports(3)]
    async with AsyncExitStack() as stack:
        for number, host in enumerate(hosts):
            config = TagIndexConfig(
                data=str(tmp_path / str(number)), origins=["127.0.0.1:1"], name=host, tls=files,
                tag_indexes=hosts, listen=Listen(port=int(host.rpartition(":")[2])),
            )  # fmt: skip
            await stack.enter_async_context(started(run, config))
        proxy = authority.files(Role.PROXY)
        _, pool = await stack.enter_async_context(among_services(Role.PROXY, proxy))
        http = pool.to(Role.TAG_INDEX)

        async def all_count() -> bool:
            return all([await counts(http, host) for host in hosts])

        await until(all_count, SOON_S)
        for host in hosts:
            assert await TagIndex(http, [host]).repositories(10, "") == []
        # Whoever does not lead would pass it on as its own.
        stranger = ssl.create_default_context(cafile=files.authority)
        async with aiohttp.ClientSession() as session:
            for host in hosts:
                for method, path in (("GET", "/repositories"), ("POST", "/gc")):
                    async with session.request(
                        method, f"https://{host}{path}", ssl=stranger
                    ) as answer:
                        assert answer.status == 403, (host, path)
        with pytest.raises(Denied, match="a certificate for proxy is not for this"):
            await http.call("POST", f"http://{hosts[0]}/agreement/messages", data=b"\x90")
