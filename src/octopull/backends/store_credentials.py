"""Who we are to S3, GCS or Azure, when a file says so: read again when that changes.

Without a file it is the environment, which obstore reads by itself: ``AWS_*``, ``GOOGLE_*`` and
``AZURE_*``, and where none is set the machine's own role. A file has lines of ``NAME=VALUE`` with
the names below, or, for GCS, a service account's JSON.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from octopull.backends.named_secrets import FILE_BYTES_MAX, Secrets
from octopull.kernel.errors import Unavailable

NAMES: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "AWS_ACCESS_KEY_ID": "access_key_id",
        "AWS_SECRET_ACCESS_KEY": "secret_access_key",
        "AWS_SESSION_TOKEN": "token",
    },
    "gs": {"GOOGLE_BEARER_TOKEN": "bearer_token"},
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
        "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
        "AZURE_STORAGE_SAS_TOKEN": "sas_key",
        "AZURE_STORAGE_TOKEN": "token",
        "AZURE_TENANT_ID": "tenant_id",
        "AZURE_CLIENT_ID": "client_id",
        "AZURE_CLIENT_SECRET": "client_secret",
    },
}
"""What a file may hold, by scheme, and what obstore calls it."""

SERVICE_ACCOUNT = "service_account_key"
Seen = tuple[int, int, int]


class StoreCredentials:
    """The credentials of one store, in the file ``path`` if that is given."""

    def __init__(self, label: str, scheme: str, path: str) -> None:
        self._label = label
        self._scheme = scheme
        self._path = Path(path) if path else None

    async def seen(self) -> Seen | None:
        """Something that changes with the file; None: there is none to be read.

        Raises:
            Unavailable: it can't be read.

        """
        path = self._path
        if path is None:
            return None
        try:
            found = await asyncio.to_thread(os.stat, path)
        except OSError as error:
            raise self._unreadable(path, error) from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    async def read(self) -> Mapping[str, str] | None:
        """By obstore's names; None: they are in the environment.

        Raises:
            Unavailable: the file is not there, not readable, or holds something else.

        """
        path = self._path
        if path is None:
            return None
        if self._scheme == "gs":
            document = await asyncio.to_thread(self._document, path)
            if document.lstrip().startswith("{"):
                return {SERVICE_ACCOUNT: document}
        names = NAMES[self._scheme]
        values = await Secrets(self._label, str(path), {name: name for name in names}).read()
        if not values:
            raise Unavailable(f"the credentials of {self._label} name nobody", path=str(path))
        return {names[name]: value for name, value in values.items()}

    def _document(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                return file.read(FILE_BYTES_MAX).decode("utf-8", "replace")
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: OSError) -> Unavailable:
        return Unavailable(
            f"the credentials of {self._label} can't be read: {error.strerror}", path=str(path)
        )
