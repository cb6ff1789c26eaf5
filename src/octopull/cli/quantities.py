"""Sizes, rates and durations on the command line."""

import re
from typing import Any

import click

from octopull.kernel.units import GIB, KIB, MIB

_NUMBER = r"(\d+(?:\.\d+)?)\s*"
_SIZE = re.compile(_NUMBER + r"(KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB|B)?", re.ASCII)
_RATE = re.compile(_NUMBER + r"(|k|K|M|G|T|Ki|Mi|Gi)(bit|B)/s", re.ASCII)
_PREFIXES = {
    "": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": KIB, "Mi": MIB, "Gi": GIB, "Ti": KIB * GIB,
}  # fmt: skip
SIZE_MAX = 1 << 50
_DURATION = re.compile(_NUMBER + r"(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION_S_MAX = 100 * 365 * 86400


class Size(click.ParamType[int]):
    """Bytes: ``256MiB``, ``100GB`` or a plain number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse, and refuse what is no size from one byte on."""
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no size such as 256MiB, 3GiB or 100GB", param, ctx)
        prefix = (found[2] or "B").removesuffix("B")
        size = round(float(found[1]) * _PREFIXES[prefix])
        if not 1 <= size <= SIZE_MAX:
            self.fail(f"{value} is out of bounds", param, ctx)
        return size


class Rate(click.ParamType[float]):
    """Bytes per second: from ``10Gbit/s`` or ``300MB/s``."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, and refuse what is no rate from one byte per second on."""
        found = _RATE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no rate such as 10Gbit/s or 300MB/s", param, ctx)
        rate = float(found[1]) * _PREFIXES[found[2]] / (8 if found[3] == "bit" else 1)
        if rate < 1:
            self.fail(f"{value} is out of bounds", param, ctx)
        return rate


class Duration(click.ParamType[float]):
    """Seconds: from ``24h``, ``90m``, ``7d``, ``30s`` or a plain number."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, and refuse what is no duration."""
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no duration such as 24h, 90m or 7d", param, ctx)
        seconds = float(found[1]) * _SECONDS[found[2] or "s"]
        if seconds > DURATION_S_MAX:
            self.fail(f"{value} is out of bounds", param, ctx)
        return seconds
