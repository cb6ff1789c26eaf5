"""A run over time, as a picture (SVG): how many are done, and how busy links are."""

from dataclasses import dataclass
from html import escape

from octopull.sim.command import command
from octopull.sim.samples import Sample, uses
from octopull.sim.scenario import Scenario

WIDTH, HEIGHT = 860, 620
LEFT, RIGHT, PANEL = 64, 836, 220
"""Where the time axis begins and ends, and how high a panel is (pixels)."""

TOPS = (84, 360)
TICKS = 8

SMOOTH = 5
"""Samples over which the use of links is taken: a fortieth of the bound."""

DONE, ORIGINS, HOSTS, BOUND = "#1f6f8b", "#c8553d", "#2e8b57", "#888888"


@dataclass(frozen=True, slots=True)
class _Axes:
    """From a time and a share to a place in a panel whose upper edge is at ``top``."""

    top: int
    end_s: float

    def x(self, at: float) -> float:
        return LEFT + (RIGHT - LEFT) * at / self.end_s

    def y(self, share: float) -> float:
        return self.top + PANEL * (1 - min(share, 1.0))

    def line(self, points: list[tuple[float, float]], colour: str) -> str:
        path = " ".join(f"{self.x(at):.1f},{self.y(share):.1f}" for at, share in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def draw(scenario: Scenario, samples: list[Sample]) -> str:
    """The picture of a run, of which ``samples`` were taken; at least one."""
    end_s = max(scenario.bound_s, samples[-1].at) * 1.02
    upper, lower = (_Axes(top, end_s) for top in TOPS)
    parts = [
        _text(LEFT, 26, f"{scenario.hosts} hosts, {scenario.pieces} pieces", size=16),
        _text(LEFT, 44, command(scenario), size=11),
        *_frame(upper), *_bound(upper, scenario.bound_s),
        upper.line([(one.at, one.done) for one in samples], DONE),
        *_legend(upper, [("hosts that are done", DONE)]),
        *_frame(lower), *_bound(lower, scenario.bound_s),
        lower.line(uses(samples, [one.origins for one in samples], SMOOTH), ORIGINS),
        lower.line(uses(samples, [one.hosts for one in samples], SMOOTH), HOSTS),
        *_legend(lower, [("origins' uplinks in use", ORIGINS), ("hosts' uplinks in use", HOSTS)]),
        _text((LEFT + RIGHT) / 2, TOPS[1] + PANEL + 38, "seconds", anchor="middle"),
    ]  # fmt: skip
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="#222">{escape(text)}</text>'
    )


def _stroke(x: tuple[float, float], y: tuple[float, float], colour: str, dashes: str = "") -> str:
    return (
        f'<line x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}" '
        f'stroke="{colour}" stroke-dasharray="{dashes}"/>'
    )


def _frame(axes: _Axes) -> list[str]:
    parts: list[str] = []
    for quarter in range(5):
        y = axes.y(quarter / 4)
        parts.append(_stroke((LEFT, RIGHT), (y, y), "#dddddd"))
        parts.append(_text(LEFT - 8, y + 4, f"{quarter * 25}%", anchor="end"))
    for tick in range(TICKS + 1):
        at = axes.end_s * tick / TICKS
        bottom = axes.y(0)
        parts.append(_stroke((axes.x(at), axes.x(at)), (bottom, bottom + 4), "#888888"))
        parts.append(_text(axes.x(at), bottom + 18, f"{at:.3g}", anchor="middle"))
    return parts


def _bound(axes: _Axes, bound_s: float) -> list[str]:
    x = axes.x(bound_s)
    return [
        _stroke((x, x), (axes.y(1), axes.y(0)), BOUND, "5 4"),
        _text(x - 6, axes.y(0) - 8, "bound", anchor="end"),
    ]


def _legend(axes: _Axes, names: list[tuple[str, str]]) -> list[str]:
    parts: list[str] = []
    for at, (name, colour) in enumerate(names):
        x, y = LEFT + 200 * at, axes.top - 8
        parts.append(_stroke((x, x + 24), (y - 4, y - 4), colour))
        parts.append(_text(x + 30, y, name))
    return parts
