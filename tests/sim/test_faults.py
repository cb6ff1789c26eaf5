"""Safety and liveness while things go wrong; invariants are checked every few events."""

import pytest

from octopull.kernel.units import MIB
from octopull.sim import faults
from octopull.sim.checks import Violation
from octopull.sim.report import measure
from octopull.sim.scenario import FaultKind, Scenario
from octopull.sim.world import World


def scenario(seed: int, kinds: frozenset[FaultKind]) -> Scenario:
    return Scenario(
        hosts=30 + seed % 11, blobs=(8 * MIB,), piece_length=MIB // 4, rate=12.5e6,
        faults=kinds, seed=seed, check_every=8, story_lines=50,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_all_honest_hosts_finish_whatever_goes_wrong(seed: int) -> None:
    finish(scenario(seed, frozenset(FaultKind)))


def finish(one: Scenario) -> None:
    world = World(one)
    world.run()
    honest = [host for host in world.hosts if host.counts]
    assert len(world.finished) == len(honest) > 20
    # A blob of few pieces, a tenth of the hosts false, and a half that asks anew after a partition.
    assert measure(world).wasted_share < 0.2


@pytest.mark.parametrize("kind", list(FaultKind))
def test_each_fault_is_drawn_alike_each_time_and_ends_in_time(kind: FaultKind) -> None:
    one = scenario(3, frozenset({kind}))
    plan = faults.plan(one)
    assert plan == faults.plan(one)
    assert plan.liars or plan.freeriders or plan.mishaps
    assert all(mishap.at + mishap.lasts_s <= one.faults_end_s for mishap in plan.mishaps)


def test_what_liars_send_is_refused_and_nobody_believes_it() -> None:
    world = World(scenario(1, frozenset({FaultKind.LIAR})))
    world.run()
    wasted = sum(swarm.wasted for host in world.hosts for swarm in host.swarms.values())
    assert wasted > 0
    for host in world.hosts:
        for swarm in host.swarms.values():
            assert swarm.engine.have == swarm.proven


def test_hosts_that_crash_keep_what_is_on_disk() -> None:
    world = World(scenario(1, frozenset({FaultKind.CRASH})))
    world.run()
    assert sum(host.wiped_bytes for host in world.hosts) == 0
    assert measure(world).wasted_share < 0.05


def test_hosts_that_lose_their_disk_fetch_all_again() -> None:
    world = World(scenario(1, frozenset({FaultKind.WIPE})))
    world.run()
    assert sum(host.wiped_bytes for host in world.hosts) > 0


def test_a_run_that_does_not_end_in_time_tells_the_host_and_its_story() -> None:
    world = World(Scenario(hosts=4, blobs=(8 * MIB,), until_s=0.05, story_lines=5))
    with pytest.raises(
        Violation, match=r"seed 1, 0\.05.* s, host \d+, blob 0: 4 downloads"
    ) as info:
        world.run()
    assert len(str(info.value).splitlines()) == 6


def test_a_core_that_counts_a_wrong_piece_as_verified_is_caught() -> None:
    world = World(Scenario(hosts=4, blobs=(8 * MIB,), check_every=1, story_lines=5))
    world.agenda.at(0.13, lambda: setattr(world.hosts[2].swarms[0], "proven", 0))
    with pytest.raises(Violation, match="counts other pieces as verified"):
        world.run()
