"""Clients under test, started when first asked for."""

from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, cast

import pytest

from registry_clients import Sandboxed, lacking

Client = TypeVar("Client", bound=Sandboxed)


class Clients:
    """One sandboxed client of each kind; ``stack`` stops those that were started."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._started: dict[str, Sandboxed] = {}

    def __call__(self, kind: type[Client]) -> Client:
        """The client, started; skips the test, by name, where it can't run."""
        missing = lacking(kind)
        if missing:
            pytest.skip(f"{kind.name} cannot run here: needs {', '.join(missing)}")
        if kind.name not in self._started:
            client = kind(self._folder / kind.name)
            client.start()
            self._stack.callback(client.stop)
            self._started[kind.name] = client
        return cast("Client", self._started[kind.name])
