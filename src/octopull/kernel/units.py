"""Sizes, in numbers and for people."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def show_size(size: int) -> str:
    """``size`` bytes with at most one decimal and a binary prefix."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} TiB"
