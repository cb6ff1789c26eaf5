"""A journal for each swarm of a process, if its settings ask for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.observability import logs
from octopull.observability.journal import Journal

log = logs.get("transport")


class Journals:
    """Opens them in ``folder``; an empty one means that there are none."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self, digest: Digest, made_of: Mapping[str, Any]) -> Journal | None:
        """The journal of the engine of ``digest`` built with the keyword arguments ``made_of``.

        A folder that can't be written costs the journal, not the pull.
        """
        if not self._folder:
            return None
        folder = Path(self._folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return Journal(folder / f"{digest.short}-{made_of['salt']:016x}.jsonl", made_of)
        except (OSError, Unavailable) as error:
            log.warning("journal.failed", digest=digest.short, reason=str(error))
            return None
