"""Sizes and durations, to numbers and back for people."""

import re

from octopull.kernel.errors import Misuse

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_FACTORS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": 1024 * GIB,
            "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of ``64MiB``, ``1.5 GB`` or ``4096``; binary and decimal prefixes differ.

    Raises:
        Misuse: no number, or an unknown unit.

    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _FACTORS:
        raise Misuse("not a size, such as 64MiB", size=text[:40])
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def show_size(size: int) -> str:
    """``size`` bytes with at most one decimal and a binary prefix."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} TiB"
