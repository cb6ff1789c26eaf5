"""The peer id of a process: chosen by chance once, kept in its data folder."""

import os
import re
from pathlib import Path

from octopull.kernel.errors import Unavailable

_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)


def peer_id(root: Path) -> str:
    """40 hexadecimal characters, the same at every start with the same folder.

    Raises:
        Unavailable: the folder can't be written.

    """
    path = root / "peer-id"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if path.exists() and _ID.fullmatch(kept := path.read_text().strip()):
            return kept
        fresh = os.urandom(20).hex()
        temporary = path.with_suffix(".new")
        temporary.write_text(fresh)
        temporary.replace(path)
    except OSError as error:
        raise Unavailable(f"cannot keep the peer id in {root}: {error}") from error
    return fresh
