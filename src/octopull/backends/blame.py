"""Whose fault it is: a store that is not ours, rather than a host that speaks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from octopull.kernel.errors import Unavailable, UpstreamFailed


@contextmanager
def blamed(store: str) -> Iterator[None]:
    """What is unavailable within the block is the store of that name.

    Raises:
        UpstreamFailed: in place of Unavailable, with the same details.

    """
    try:
        yield
    except UpstreamFailed:
        raise
    except Unavailable as fault:
        raise UpstreamFailed(f"{store}: {fault}", **fault.details) from fault
