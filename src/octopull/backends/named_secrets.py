"""What a store's client must keep to itself: ``NAME=VALUE`` lines of a file, or the environment.

Nothing here puts a value into a fault, a log line or a ``repr``.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from octopull.kernel.errors import Unavailable

FILE_BYTES_MAX = 64 * 1024


class Secrets:
    """Values by name: from the lines of the file ``credentials`` if that is given, else from the
    environment variables that ``variables`` has by the same names.

    ``label`` names the store to people. The file is read again when it changes.
    """

    def __init__(self, label: str, credentials: str, variables: Mapping[str, str]) -> None:
        self._label = label
        self._path = Path(credentials) if credentials else None
        self._variables = variables
        self._seen: tuple[int, int, int] | None = None
        self._values: Mapping[str, str] = {}

    async def read(self) -> Mapping[str, str]:
        """The values that are set, by name.

        Raises:
            Unavailable: the file is not there, not readable, or holds other lines.

        """
        if self._path is None:
            found = {name: os.environ.get(one) for name, one in self._variables.items()}
            return {name: value for name, value in found.items() if value is not None}
        return await asyncio.to_thread(self._read, self._path)

    def _read(self, path: Path) -> Mapping[str, str]:
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                seen = (found.st_ino, found.st_mtime_ns, found.st_size)
                if seen != self._seen:
                    self._values = self._parsed(file.read(FILE_BYTES_MAX))
                    self._seen = seen
        except OSError as error:
            raise Unavailable(f"the credentials of {self._label} can't be read: "
                              f"{error.strerror}", path=str(path)) from error  # fmt: skip
        return self._values

    def _parsed(self, content: bytes) -> Mapping[str, str]:
        lines = (line.strip() for line in content.decode("utf-8", "replace").splitlines())
        told = [line.partition("=") for line in lines if line and not line.startswith("#")]
        values = {name.strip(): value.strip() for name, _, value in told}
        if not all(equals for _, equals, _ in told) or not values.keys() <= self._variables.keys():
            raise Unavailable(f"the credentials of {self._label} are not lines of NAME=VALUE, "
                              f"with names among {', '.join(sorted(self._variables))}")  # fmt: skip
        return values
