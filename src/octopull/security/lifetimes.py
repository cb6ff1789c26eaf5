"""How near a certificate's end is, and how that is said."""

from enum import StrEnum

DAY_S = 86400
SOON_S = 14 * DAY_S
URGENT_S = DAY_S


class Stage(StrEnum):
    """Of a certificate's life."""

    FINE = "fine"
    SOON = "soon"
    """Two weeks are left: time to see why nobody renewed it."""
    URGENT = "urgent"
    OVER = "over"


def stage(left_s: float) -> Stage:
    """Where a certificate is that has ``left_s`` seconds left."""
    if left_s <= 0:
        return Stage.OVER
    if left_s <= URGENT_S:
        return Stage.URGENT
    return Stage.SOON if left_s <= SOON_S else Stage.FINE


def left_words(left_s: float) -> str:
    """``expires in 89 days``, ``expired 3 hours ago``."""
    units = (("day", DAY_S), ("hour", 3600), ("minute", 60))
    unit, unit_s = next((one for one in units if abs(left_s) >= one[1]), units[-1])
    count = int(abs(left_s) // unit_s)
    several = "" if count == 1 else "s"
    if left_s > 0:
        return f"expires in {count} {unit}{several}"
    return f"expired {count} {unit}{several} ago"
