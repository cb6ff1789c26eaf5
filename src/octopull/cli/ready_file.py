"""What ``up --ready-file`` wrote: where the services of a cluster are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from octopull.kernel.errors import Misuse

T = TypeVar("T")


def read(path: Path, pick: Callable[[dict[str, Any]], T]) -> T:
    """What ``pick`` takes of the document.

    Raises:
        Misuse: the file is something else.

    """
    try:
        return pick(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise Misuse(f"{path} was not written by 'up --ready-file': {error!r}") from error
