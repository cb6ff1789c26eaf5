"""JSON from strangers: what was meant to be there, or a ``Misuse`` that says what isn't."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from octopull.kernel.errors import Misuse

T = TypeVar("T")


def read(decode: Callable[[bytes], T], body: bytes, what: str) -> T:
    """``body`` as ``decode`` (a msgspec decoder's) understands it; ``what`` names it to people.

    Raises:
        Misuse: it is something else.

    """
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misuse(f"not {what}: {error}") from error
