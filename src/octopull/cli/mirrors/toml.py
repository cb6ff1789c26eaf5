"""TOML as others wrote it: read whole, or refused."""

import tomllib
from typing import Any

from octopull.kernel.errors import Misuse


def parse(text: str) -> dict[str, Any]:
    """The document.

    Raises:
        Misuse: it is no TOML, or nested beyond reason.

    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"it is no TOML: {error}") from error


def table(document: object, *path: str) -> dict[str, Any]:
    """The table at ``path``; an empty one if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}
