"""Those that wait for what tag indexes agree on."""

import asyncio
from collections.abc import Callable

from octopull.kernel.errors import Unavailable

NOBODY = "no majority of the tag indexes answers"


def settle(waiting: asyncio.Future[None] | None) -> None:
    """What was waited for has come."""
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def fail(waiting: asyncio.Future[None] | None, reason: str) -> None:
    """It won't come; clients are told no more than ``NOBODY``."""
    if waiting is not None and not waiting.done():
        waiting.set_exception(Unavailable(reason, public=NOBODY))
        waiting.exception()  # Nobody may be waiting any more.


class Rounds:
    """Of the question whether a member leads: all that come during one share the next.

    ``ask`` begins the round of a number, which ends with ``answered`` or ``fail``.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._number = 0
        self._asked: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None

    def join(self) -> asyncio.Future[None]:
        """Done once a round that begins from now on has an answer."""
        waiting = self._next = self._next or asyncio.get_running_loop().create_future()
        if self._asked is None:
            self._begin()
        return waiting

    def _begin(self) -> None:
        self._asked, self._next = self._next, None
        self._number += 1
        self._ask(self._number)

    def answered(self, number: int) -> None:
        """The member still leads; an answer to a round that failed is none."""
        if number != self._number or self._asked is None:
            return
        settle(self._asked)
        self._asked = None
        if self._next is not None:
            self._begin()

    def fail(self, reason: str) -> None:
        """All that wait are told so."""
        fail(self._asked, reason)
        fail(self._next, reason)
        self._asked = self._next = None
