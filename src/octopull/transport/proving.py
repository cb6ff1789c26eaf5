"""Threads that prove and write pieces, at the cost of one wake-up for many when there is much to do.

An executor would make two futures, a callback and a wake-up of the loop for each piece.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from octopull.kernel.errors import Fault, Unavailable

Work = Callable[[], bool]
Done = Callable[[bool | Fault], None]


class Prover:
    """Runs work in its threads and tells of each outcome on the loop, in batches.

    Calls come from the loop's thread. Work that raises anything but a fault is told as
    ``Unavailable``.
    """

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._outcomes: list[tuple[Done, bool | Fault]] = []
        self._lock = threading.Lock()
        self._over = False
        self._threads = [
            threading.Thread(target=self._run, name=f"prove {number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work, done: Done) -> None:
        """Run ``work`` in a thread, then call ``done`` on the loop; ``Unavailable`` once closed."""
        if self._over:
            self._loop.call_soon(done, Unavailable("shutting down"))
        else:
            self._waiting.put((work, done))

    async def close(self) -> None:
        """Let what was submitted end, and the threads with it."""
        self._over = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._deliver()

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            work, done = entry
            outcome: bool | Fault
            try:
                outcome = work()
            except Fault as fault:
                outcome = fault
            except Exception as error:  # noqa: BLE001 - top of a thread: told to whoever waits
                outcome = Unavailable(f"write failed: {error}")
            with self._lock:
                self._outcomes.append((done, outcome))
                first = len(self._outcomes) == 1
            if first:
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        for done, outcome in outcomes:
            done(outcome)
