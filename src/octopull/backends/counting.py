"""Every request to a backend is counted and timed, whatever kind of store it goes to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from octopull.kernel.errors import Fault, NotFound
from octopull.observability import metrics


@contextmanager
def counted(backend: str, operation: str) -> Iterator[None]:
    """The block is one request; what it raises is its outcome."""
    started_s, outcome = time.monotonic(), "broken off"
    try:
        yield
        outcome = "done"
    except NotFound:
        outcome = "not found"
        raise
    except Fault as fault:
        outcome = fault.code
        raise
    finally:
        metrics.BACKEND_REQUESTS.labels(backend, operation, outcome).inc()
        metrics.BACKEND_SECONDS.labels(backend, operation).observe(time.monotonic() - started_s)
