"""``octopull sim`` as typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from octopull.cli.sim import sim
from octopull.kernel.units import GIB, MIB
from octopull.sim.command import command
from octopull.sim.scenario import Arrival, FaultKind, Scenario

SMALL = ["--hosts", "5", "--blob", "4MiB"]


def typed(*words: str) -> Result:
    return CliRunner().invoke(sim, words)


def test_a_run_tells_its_numbers_and_how_to_repeat_it() -> None:
    result = typed(*SMALL)
    assert result.exit_code == 0, result.output
    assert "octopull sim --hosts 5 --blob 4MiB --rate 1Gbit/s --seed 1" in result.output
    again = result.output.split("again")[1].split()[2:]
    assert typed(*again).output == result.output


def test_seeds_are_run_side_by_side_and_give_what_they_give_alone() -> None:
    many = typed(*SMALL, "--seeds", "3", "--processes", "2", "--json", "-")
    alone = typed(*SMALL, "--seed", "2", "--json", "-")
    assert many.exit_code == alone.exit_code == 0, many.output
    assert json.loads(many.stdout)[1] == json.loads(alone.stdout)[0]


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    plot, document = tmp_path / "a.svg", tmp_path / "a.json"
    assert typed(*SMALL, "--plot", str(plot), "--json", str(document)).exit_code == 0
    assert plot.read_text().startswith("<svg")
    assert plot.read_text().count("<polyline") == 3
    assert json.loads(document.read_text())[0]["origins_copies"] >= 1


@pytest.mark.parametrize(
    "words",
    [
        ["--hosts", "0"], ["--blob", "-1"], ["--blob", "0"], ["--blob", "much"], ["--piece", "3MiB"],
        ["--rate", "10"], ["--rate", "0Gbit/s"], ["--faults", "gremlins"], ["--seeds", "0"],
        ["--arrival", "never"], ["--slow-share", "2"], ["--frame-delay-s", "-1"], ["--plot", "a.svg", "--seeds", "2"],
        ["--origins", "0"], ["--zones", "0"], ["--arrival-s", "-1"],
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_a_reason(words: list[str]) -> None:
    result = typed(*words)
    assert result.exit_code == 2
    assert "Error" in result.output
    assert "Traceback" not in result.output


def test_a_command_says_all_that_differs_from_the_usual() -> None:
    scenario = Scenario(
        hosts=7, blobs=(3 * GIB, 100 * 10**9), piece_length=None, rate=1.25e9, origins=2,
        origin_rate=300e6, zones=3, arrival=Arrival.STAGGERED, arrival_s=4.5, slow_share=0.1,
        frame_delay_s=0.05, faults=frozenset({FaultKind.WIPE, FaultKind.CRASH}), seed=9,
    )  # fmt: skip
    assert command(scenario) == (
        "octopull sim --hosts 7 --blob 3GiB --blob 97656250KiB --rate 10Gbit/s --origins 2"
        " --origin-rate 2400Mbit/s --zones 3 --arrival staggered --arrival-s 4.5 --slow-share 0.1"
        " --frame-delay-s 0.05 --faults crash,wipe --seed 9"
    )
    assert command(Scenario(blobs=(MIB + 1,))).startswith(
        "octopull sim --hosts 100 --blob 1048577 --piece 1MiB"
    )
