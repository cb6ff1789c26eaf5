"""A tracker that lets agents announce themselves alone."""

from pathlib import Path

import pytest

from octopull.clients.tracker import AnnounceRequest, SwarmStatus, TrackerClient
from octopull.config.announcing import Announced
from octopull.config.services import TrackerConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Denied
from octopull.kernel.peers import Peer, PeerKind
from octopull.security.reloading import known_as
from octopull.security.roles import Role
from octopull.services.tracker.app import run
from support.authorities import new
from support.services import started


async def announce(http: Http, tracker: str, number: int, host: str) -> list[str]:
    """Be in a swarm at ``host``; the hosts of its other peers."""
    peer = Peer(id=f"{number}" * 40, host=host, port=6881, kind=PeerKind.AGENT)
    swarm = SwarmStatus(
        info_hash="0" * 64, digest=str(Digest.of(b"")), namespace="a", complete=False, wants=5
    )
    reply = await TrackerClient(http.to(Role.TRACKER), [tracker]).announce(
        AnnounceRequest(peer=peer, swarms=[swarm])
    )
    return [one.host for peers in reply.swarms.values() for one in peers]


@pytest.mark.parametrize("announced", Announced)
async def test_an_agent_announces_what_its_certificate_names_or_where_it_calls_from(
    tmp_path: Path, announced: Announced
) -> None:
    ours = new(tmp_path / "ours")
    config = TrackerConfig(
        origins=["127.0.0.1:1"], tls=ours.files(Role.TRACKER), announced=announced
    )
    agent = ours.files(Role.AGENT, "host-7.example")
    async with (
        started(run, config) as tracker,
        known_as(Role.AGENT, agent) as tls,
        Http(tls=tls) as http,
    ):
        await announce(http, tracker.address, 1, "host-7.example")
        assert await announce(http, tracker.address, 2, "127.0.0.1") == ["host-7.example"]
        if announced is Announced.ANY:
            await announce(http, tracker.address, 3, "host-8.example")
        else:
            with pytest.raises(Denied, match="its certificate names"):
                await announce(http, tracker.address, 3, "host-8.example")
        heard = await announce(http, tracker.address, 4, "host-7.example")
        assert ("host-8.example" in heard) is (announced is Announced.ANY)
