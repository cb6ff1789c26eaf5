"""What a run came to: numbers, as text and as a document."""

from dataclasses import asdict, dataclass
from typing import Any

from octopull.sim.command import command
from octopull.sim.world import World


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Completion (seconds from a host's arrival to its last verified piece)."""

    p50: float
    p99: float
    p999: float
    worst: float

    def over(self, bound_s: float) -> "Quantiles":
        """Each in units of ``bound_s``."""
        return Quantiles(
            self.p50 / bound_s, self.p99 / bound_s, self.p999 / bound_s, self.worst / bound_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run in numbers.

    Shares are in 0..1; copies are in units of all blobs' bytes together. ``wasted_share`` is what
    hosts received beyond what they needed, over what they needed. ``frames_per_piece`` leaves out
    the heads of bodies.
    """

    seed: int
    bound_s: float
    seconds: Quantiles
    over_bound: Quantiles
    origins_share: float
    origins_copies: float
    wasted_share: float
    frames_per_piece: float
    tracker_requests: int
    tracker_rate_peak: int
    tracker_rate_mean: float
    crossed_copies_per_zone: float
    virtual_s: float
    events: int
    transcript: str
    command: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def measure(world: World) -> Report:
    """The report of a run that has ended."""
    scenario, bound_s = world.scenario, world.scenario.bound_s
    origins = world.hosts[: scenario.origins]
    counted = [host for host in world.hosts if host.counts]
    size = scenario.size
    sent = sum(host.link.sent for host in world.hosts)
    from_origins = sum(host.link.sent for host in origins)
    received = sum(host.link.received - host.wiped_bytes for host in counted)
    needed = sum(swarm.layout.size for host in counted for swarm in host.swarms.values())
    seconds = _quantiles(world)
    requests = world.tracker.requests
    pulled = scenario.pieces * scenario.share * scenario.hosts
    return Report(
        seed=scenario.seed, bound_s=bound_s, seconds=seconds, over_bound=seconds.over(bound_s),
        origins_share=from_origins / max(sent, 1),
        origins_copies=from_origins / size,
        wasted_share=received / needed - 1,
        frames_per_piece=sum(h.said for h in world.hosts) / pulled,
        tracker_requests=requests.total(),
        tracker_rate_peak=max(requests.values(), default=0),
        tracker_rate_mean=requests.total() / max(world.agenda.now, 1.0),
        crossed_copies_per_zone=sum(h.crossed_bytes for h in world.hosts) / size / scenario.zones,
        virtual_s=world.agenda.now, events=world.agenda.count,
        transcript=world.transcript, command=command(scenario),
    )  # fmt: skip


def _quantiles(world: World) -> Quantiles:
    took = sorted(world.finished[number] - world.started[number] for number in world.finished)
    if not took:
        # All were liars or free riders: there is nobody whose time would count.
        return Quantiles(0.0, 0.0, 0.0, 0.0)
    p50, p99, p999 = (
        took[min(int(len(took) * share), len(took) - 1)] for share in (0.5, 0.99, 0.999)
    )
    return Quantiles(p50, p99, p999, took[-1])


def lines(report: Report) -> list[tuple[str, str]]:
    """One report for a person: names and what they come to."""
    seconds, over = report.seconds, report.over_bound
    rows = [("bound", f"{report.bound_s:.3f} s")]
    rows += [
        (name, f"{took:.3f} s, {times:.3f} of the bound")
        for name, took, times in (
            ("half of the hosts", seconds.p50, over.p50),
            ("99% of the hosts", seconds.p99, over.p99),
            ("99.9% of the hosts", seconds.p999, over.p999),
            ("all hosts", seconds.worst, over.worst),
        )
    ]
    asked = (
        f"{report.tracker_requests} requests, {report.tracker_rate_peak} in the busiest second, "
        f"{report.tracker_rate_mean:.1f}/s in the mean"
    )
    return [
        *rows,
        ("origins sent", f"{report.origins_copies:.2f} copies, {report.origins_share:.2%} of all"),
        ("wasted", f"{report.wasted_share:.2%} of what was needed"),
        ("frames", f"{report.frames_per_piece:.2f} per piece, heads of bodies aside"),
        ("tracker", asked),
        ("between zones", f"{report.crossed_copies_per_zone:.2f} copies per zone"),
        ("virtual time", f"{report.virtual_s:.3f} s, {report.events} events"),
        ("transcript", report.transcript),
        ("again", report.command),
    ]  # fmt: skip


COLUMNS = ("seed", "p50", "p99", "p99.9", "max", "origins", "wasted", "frames", "transcript")
"""Of a table of several runs; the times are over the bound, origins' bytes in copies."""


def row(report: Report) -> tuple[str, ...]:
    """One run in a table of several."""
    over = report.over_bound
    times = (f"{value:.3f}" for value in (over.p50, over.p99, over.p999, over.worst))
    return (
        str(report.seed), *times, f"{report.origins_copies:.2f}", f"{report.wasted_share:.2%}",
        f"{report.frames_per_piece:.2f}", report.transcript,
    )  # fmt: skip
