"""The command line that gives a scenario, and the quantities in it as text.

It covers what the command line can say; other fields of a scenario are for those who write code.
"""

from octopull.kernel.units import GIB, KIB, MIB
from octopull.sim.scenario import FaultKind, Scenario

BITS = (("Gbit/s", 125e6), ("Mbit/s", 125e3))


def size_text(size: int) -> str:
    """``size`` bytes, exactly: ``256MiB``, or a plain number."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def rate_text(rate: float) -> str:
    """``rate`` bytes per second, exactly: ``10Gbit/s``, or bytes."""
    for unit, factor in BITS:
        if rate % factor == 0:
            return f"{rate / factor:.0f}{unit}"
    return f"{rate!r}B/s"


def faults_text(faults: frozenset[FaultKind]) -> str:
    """Faults as the command line names them, in their order."""
    if faults == frozenset(FaultKind):
        return "mix"
    return ",".join(kind for kind in FaultKind if kind in faults)


def command(scenario: Scenario) -> str:
    """What to type for ``scenario``; what is as by default is left out."""
    plain = Scenario()
    words = ["octopull sim", f"--hosts {scenario.hosts}"]
    words += [f"--blob {size_text(size)}" for size in scenario.blobs]
    if scenario.times != plain.times:
        words.append(f"--times {scenario.times}")
    if scenario.pick is not None:
        words.append(f"--pick {scenario.pick}")
    if scenario.piece_length is not None:
        words.append(f"--piece {size_text(scenario.piece_length)}")
    words.append(f"--rate {rate_text(scenario.rate)}")
    if scenario.origins != plain.origins:
        words.append(f"--origins {scenario.origins}")
    if scenario.replicas is not None:
        words.append(f"--replicas {scenario.replicas}")
    if scenario.origin_rate is not None:
        words.append(f"--origin-rate {rate_text(scenario.origin_rate)}")
    if scenario.zones != plain.zones:
        words.append(f"--zones {scenario.zones}")
    if (scenario.arrival, scenario.arrival_s) != (plain.arrival, plain.arrival_s):
        words.append(f"--arrival {scenario.arrival} --arrival-s {scenario.arrival_s!r}")
    if scenario.slow_share:
        words.append(f"--slow-share {scenario.slow_share!r}")
    if scenario.frame_delay_s != plain.frame_delay_s:
        words.append(f"--frame-delay-s {scenario.frame_delay_s!r}")
    if scenario.faults:
        words.append(f"--faults {faults_text(scenario.faults)}")
    words.append(f"--seed {scenario.seed}")
    return " ".join(words)
