"""Servers check each other: what they find out decides who is asked first, and can be seen."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.membership import MemberTold, Watch, members_of
from octopull.config.membership import HealthSettings
from octopull.config.services import Listen, ProxyConfig, TagIndexConfig
from octopull.http.client import Http
from octopull.observability import metrics
from octopull.placement.members import Members
from octopull.runtime.tasks import Tasks
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from support.cluster import OCTOPULL
from support.ports import free_port, free_ports
from support.services import started
from support.waiting import until

OFTEN = HealthSettings(every_s=0.02, timeout_s=0.5, fails=3, passes=2)
WITHIN_S = 10.0


class Host:
    """Answers checks as ``answers`` says, and counts them."""

    def __init__(self, answers: Callable[[int], bool]) -> None:
        self.answers = answers
        self.checks = 0

    async def health(self, _: web.Request) -> web.Response:
        self.checks += 1
        return web.Response(status=200 if self.answers(self.checks) else 503)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Where it answers."""
        app = web.Application()
        app.router.add_get("/health", self.health)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await runner.cleanup()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, agents=1, ports=Ports(0, "127.0.0.1")) as one:
        yield one


@asynccontextmanager
async def watching(members: Members, me: str = "") -> AsyncIterator[None]:
    async with Tasks() as tasks:
        tasks.start(Watch("test", {"origins": members}, OFTEN, Http(), me).run(), "watch")
        yield


async def test_a_host_goes_down_and_up_with_its_answers_and_metrics_tell() -> None:
    well = asyncio.Event()
    async with Host(lambda _: well.is_set()).serving() as host:
        members = Members([host], hysteresis=OFTEN.hysteresis)

        def shown(up: int) -> bool:
            line = f'octopull_host_up{{by="test",cluster="origins",host="{host}"}} {up}.0'
            return line in metrics.render().decode()

        async def down() -> bool:
            return members.health.down(host) and shown(0)

        async def up() -> bool:
            return not members.health.down(host) and shown(1)

        async with watching(members):
            await until(down, WITHIN_S)
            well.set()
            await until(up, WITHIN_S)


async def test_one_that_answers_every_other_check_stays_up() -> None:
    flapping, seen = Host(lambda number: number % 2 == 0), set[bool]()
    async with flapping.serving() as host:
        members = Members([host], hysteresis=OFTEN.hysteresis)

        async def checked_often() -> bool:
            seen.add(members.health.down(host))
            return flapping.checks > 12

        async with watching(members):
            await until(checked_often, WITHIN_S)
    assert seen == {False}


async def test_one_that_hangs_is_down_and_does_not_hold_up_the_checks_of_others() -> None:
    other = Host(lambda _: True)

    # The kernel takes connections, as it does for a process that was stopped.
    server = socket.create_server(("127.0.0.1", 0))
    hung = f"127.0.0.1:{server.getsockname()[1]}"
    async with other.serving() as host:
        members = Members([hung, host], hysteresis=OFTEN.hysteresis)

        async def down() -> bool:
            return members.health.down(hung)

        async with watching(members):
            await until(down, WITHIN_S)
        assert not members.health.down(host)
        assert other.checks >= OFTEN.fails
    server.close()


async def test_nobody_checks_itself_and_checks_can_be_off() -> None:
    me, other = Host(lambda _: True), Host(lambda _: True)
    async with me.serving() as mine, other.serving() as theirs:

        async def checked() -> bool:
            return other.checks > 2

        async with watching(Members([mine, theirs]), mine):
            await until(checked, WITHIN_S)
        assert not me.checks
        off = Watch("test", {"origins": Members([mine])}, HealthSettings(every_s=0), Http())
        await asyncio.wait_for(off.run(), WITHIN_S)
        assert not me.checks


async def test_a_proxy_tells_whom_it_finds_down_and_status_shows_it(
    http: Http, cluster: Cluster
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    config = ProxyConfig(
        origins=[cluster.origin.address, dead], tag_indexes=[cluster.tag_index.address],
        weights={dead: 0.5}, health=OFTEN, listen=Listen(port=0),
    )  # fmt: skip
    async with started(run_proxy, config) as proxy:

        async def found_down() -> bool:
            told = await members_of(http, proxy.address)
            return told["origins"][1] == MemberTold(host=dead, weight=0.5, up=False)

        await until(found_down, WITHIN_S)
        told = await members_of(http, proxy.address)
        assert told["origins"][0].up
        assert [one.host for one in told["tag_indexes"]] == [cluster.tag_index.address]
        shown = await status(proxy.address, cluster, "--json")
        assert json.loads(shown)[0]["down"] == [dead]
        assert "finds down" in await status(proxy.address, cluster)


async def status(proxy: str, cluster: Cluster, *words: str) -> str:
    command = await asyncio.create_subprocess_exec(
        OCTOPULL, "status", "--proxy", proxy, "--agent", cluster.agents[0].address, *words,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await command.communicate()
    assert command.returncode == 0
    return out.decode()


async def test_each_server_tells_whom_it_depends_on(http: Http, cluster: Cluster) -> None:
    for one in (cluster.tracker, cluster.tag_index, cluster.proxy):
        told = await members_of(http, one.address)
        assert told["origins"] == [MemberTold(host=cluster.origin.address, weight=1, up=True)]
    assert len((await members_of(http, cluster.origin.address))["origins"]) == 1


async def test_a_tag_index_tells_of_itself_even_while_nobody_leads(
    http: Http, tmp_path: Path
) -> None:
    me, *others = [f"127.0.0.1:{port}" for port in free_ports(3)]
    listen = Listen(port=int(me.rpartition(":")[2]))
    config = TagIndexConfig(
        data=str(tmp_path), origins=[others[0]], name=me, tag_indexes=[me, *others], listen=listen
    )
    async with started(run_tag_index, config) as one:
        told = await members_of(http, one.address)
        assert [member.host for member in told["origins"]] == others[:1]
