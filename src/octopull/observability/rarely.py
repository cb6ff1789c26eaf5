"""Says what may happen a thousand times a second, but not that often."""

KEYS_MAX = 1024


class Rarely:
    """Lets a thing through once in ``every_s`` seconds, for each key by itself."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last: dict[str, float] = {}

    def due(self, key: str, now: float) -> bool:
        """Whether to say it now; then it counts as said."""
        if now - self._last.get(key, -self._every_s) < self._every_s:
            return False
        if len(self._last) >= KEYS_MAX:
            # Strangers choose some of the keys.
            self._last.clear()
        self._last[key] = now
        return True
