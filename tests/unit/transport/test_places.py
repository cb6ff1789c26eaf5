"""Swarms and connections of a process have so many places, and the oldest that is idle makes room."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.config.peers import PeerLimits
from octopull.kernel.errors import Misuse, Unavailable
from octopull.swarm.events import Dialed
from octopull.transport import places as module
from octopull.transport.places import Places


@dataclass(eq=False)
class Blob:
    """A swarm that is idle or not."""

    idle: bool = True
    retired: bool = False

    def retire(self) -> None:
        self.retired = True


def places(swarms: int = 3, connections: int = 16) -> Places:
    return Places(PeerLimits(swarms_max=swarms, connections_max=connections), "agent")


async def test_the_oldest_swarm_that_is_idle_makes_room_for_one_more() -> None:
    found = places()
    busy, first, second = Blob(idle=False), Blob(), Blob()
    for swarm in (busy, first, second):
        assert found.make_room()
        found.enter(swarm)
    # What was of use just now is the youngest.
    found.touch(first)
    assert found.make_room()
    assert (busy.retired, first.retired, second.retired) == (False, False, True)
    found.enter(Blob(idle=False))
    found.touch(second)
    assert found.swarms == 3
    assert found.make_room()
    assert first.retired
    found.enter(Blob(idle=False))
    assert not found.make_room()
    assert not busy.retired
    found.leave(busy)
    found.leave(busy)
    assert found.make_room()


async def test_peers_get_seven_eighths_of_the_connections_and_own_dials_all() -> None:
    found = places(connections=16)
    with ExitStack() as stack:
        for _ in range(14):
            with found.coming(Dialed.BY_THEM):
                pass
            found.opened()
        with pytest.raises(Unavailable, match=r"16 at most \(peer\.limits\.connections_max\)"):
            stack.enter_context(found.coming(Dialed.BY_THEM))
        for _ in range(2):
            stack.enter_context(found.coming(Dialed.BY_US))
        with pytest.raises(Unavailable):
            stack.enter_context(found.coming(Dialed.BY_US))
        assert found.connections == 16
    found.closed()
    assert found.connections == 13
    with found.coming(Dialed.BY_THEM):
        assert found.connections == 14


async def test_a_pull_waits_for_a_place_and_is_told_which_limit_it_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, busy = places(swarms=1), Blob(idle=False)
    found.enter(busy)
    monkeypatch.setattr(module, "ROOM_S", 0.0)
    with pytest.raises(Unavailable, match=r"1 swarms at most \(peer\.limits\.swarms_max\)"):
        await found.room()
    monkeypatch.setattr(module, "ROOM_S", 60.0)
    asyncio.get_running_loop().call_later(0.01, found.leave, busy)
    await found.room()
    for _ in range(16):
        found.opened()
    asyncio.get_running_loop().call_later(0.01, found.closed)
    await found.room()
    found.opened()
    monkeypatch.setattr(module, "ROOM_S", 0.0)
    with pytest.raises(Unavailable, match=r"peer\.limits\.connections_max"):
        await found.room()


def test_there_are_no_more_places_than_files() -> None:
    assert PeerLimits().within(1 << 20) == PeerLimits()
    assert PeerLimits().within(4096) == PeerLimits(swarms_max=1024, connections_max=1024)
    assert PeerLimits(swarms_max=5).within(4096).swarms_max == 5
    assert PeerLimits().within(0) == PeerLimits(swarms_max=1, connections_max=16)
    for wrong in ({"swarms_max": 0}, {"connections_max": 15}):
        with pytest.raises(Misuse, match="at least one swarm"):
            PeerLimits(**wrong)


steps = st.lists(st.tuples(st.sampled_from(["open", "busy", "touch", "leave"]), st.integers(0, 9)))


@given(steps)
def test_in_any_order_no_more_are_open_than_may_be_and_none_that_is_of_use_goes(
    told: list[tuple[str, int]],
) -> None:
    found, order = places(), list[Blob]()
    for what, at in told:
        known = order[at % len(order)] if order else None
        if what in {"open", "busy"}:
            fresh = Blob(idle=what == "open")
            idle = [one for one in order if one.idle]
            room = found.make_room()
            assert room is (len(order) < 3 or bool(idle))
            if len(order) == 3 and idle:
                assert idle[0].retired
                order.remove(idle[0])
            if room:
                found.enter(fresh)
                order.append(fresh)
        elif known is not None and what == "touch":
            found.touch(known)
            order.remove(known)
            order.append(known)
        elif known is not None:
            found.leave(known)
            order.remove(known)
        assert found.swarms == len(order) <= 3
        assert not any(one.retired for one in order)
