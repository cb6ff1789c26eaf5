"""Peers that prove who they are: who is let into a swarm, and what both sides say of who is not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopull.config.services import PeerSettings
from octopull.config.tls import ClusterTls
from octopull.kernel.peers import PeerKind
from octopull.security.reloading import known_as
from octopull.security.roles import Role
from octopull.swarm.messages import Handshake
from octopull.transport.lines import Lines
from octopull.transport.node import PeerNode
from support.authorities import DAY, Authority, new
from support.waiting import until

SOON_S = 10.0


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return new(tmp_path / "ours")


@asynccontextmanager
async def node(files: ClusterTls) -> AsyncIterator[tuple[PeerNode, list[Handshake]]]:
    """A peer that has no blobs, and those who greeted it."""
    greeted: list[Handshake] = []

    async def nobody(theirs: Handshake) -> None:
        greeted.append(theirs)

    async with (
        known_as(Role.ORIGIN, files) as tls,
        PeerNode(PeerSettings(), "a" * 40, PeerKind.ORIGIN, nobody, None, tls) as one,
    ):
        yield one, greeted


async def dial(there: PeerNode, files: ClusterTls | None, own: Role) -> bytes:
    """What a peer hears that shows ``files`` and sends something: nothing, after its handshake."""
    async with known_as(own, files) as tls, asyncio.timeout(SOON_S):
        line = await Lines(tls).dialed(there.me.host, there.me.port)
        try:
            await line.send_all(b"\0" * 100)
            return await line.receive(1000)
        finally:
            line.close()


def told(lines: Sequence[structlog.typing.EventDict]) -> list[str]:
    return [one["reason"] for one in lines
            if one["event"] == "peer.refused" and one["log_level"] == "warning"]  # fmt: skip


@pytest.mark.parametrize("role", [Role.AGENT, Role.ORIGIN])
async def test_agents_and_origins_are_let_in(ours: Authority, role: Role) -> None:
    async with node(ours.files(Role.ORIGIN)) as (there, _):
        with structlog.testing.capture_logs() as lines:
            # Zeros are no greeting: it hangs up, but heard them.
            assert await dial(there, ours.files(role), role) == b""
        assert told(lines) == []


@pytest.mark.parametrize("role", [Role.TRACKER, Role.PROXY, Role.OPERATOR])
async def test_other_services_are_not_peers(ours: Authority, role: Role) -> None:
    async with node(ours.files(Role.ORIGIN)) as (there, greeted):
        with structlog.testing.capture_logs() as lines, pytest.raises((OSError, AssertionError)):
            assert await dial(there, ours.files(role), role) != b""
        assert greeted == []
        assert told(lines) == [
            f"its certificate is not the one expected: it is for {role}, not for agent or origin"
        ]


async def test_a_peer_of_another_authority_is_refused(ours: Authority, tmp_path: Path) -> None:
    theirs = new(tmp_path / "theirs").files(Role.AGENT)
    async with node(ours.files(Role.ORIGIN)) as (there, _):
        with structlog.testing.capture_logs() as lines, pytest.raises(OSError):
            await dial(there, theirs, Role.AGENT)

        async def both() -> bool:
            return len(told(lines)) == 2

        await until(both, SOON_S)
    assert sorted(told(lines)) == [
        "it does not know the authority of our certificate",
        "its certificate is of another authority than ours",
    ]


async def test_a_peer_whose_certificate_has_expired_is_refused(ours: Authority) -> None:
    old = ours.files(Role.AGENT, ago=2 * DAY, life=timedelta(days=1))
    async with node(ours.files(Role.ORIGIN)) as (there, _):
        with structlog.testing.capture_logs() as lines, pytest.raises((OSError, AssertionError)):
            assert await dial(there, old, Role.AGENT) != b""
    assert "its certificate has expired: octopull certs rotate" in told(lines)


async def test_a_peer_in_clear_is_refused_and_told_of(ours: Authority) -> None:
    async with node(ours.files(Role.ORIGIN)) as (there, greeted):
        with structlog.testing.capture_logs() as lines, suppress(ConnectionResetError):
            await dial(there, None, Role.AGENT)
        assert greeted == []
        assert told(lines) == ["it does not speak TLS"]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_noise_is_turned_away_and_the_port_outlives_it(
    ours: Authority, noises: list[bytes]
) -> None:
    async def converse() -> None:
        files = ours.files(Role.ORIGIN)
        async with node(files) as (there, _), AsyncExitStack() as stack:
            for noise in noises:
                sock = socket.create_connection((there.me.host, there.me.port))
                stack.callback(sock.close)
                sock.sendall(noise)
                # As a client hello begins, so that the noise gets further.
                sock = socket.create_connection((there.me.host, there.me.port))
                stack.callback(sock.close)
                sock.sendall(b"\x16\x03\x01" + len(noise).to_bytes(2, "big") + noise)
            assert await dial(there, files, Role.ORIGIN) == b""

    asyncio.run(converse())
