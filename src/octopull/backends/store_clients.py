"""obstore's clients for S3, GCS and Azure, made from settings and credentials.

They are made anew when the file with the credentials changes, so that who rotates them need not
restart anything. Deadlines are the caller's (backends/deadlines.py): obstore's own would cut a
long body off, so it has but one for connecting, and few and quick retries, without which a part
that failed would cost all parts before it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from octopull.backends.store_credentials import Seen, StoreCredentials
from octopull.backends.store_faults import fault_of
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import Misuse

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Client = S3Store | GCSStore | AzureStore

CONNECT_S = 5
RETRIES = 3
RETRY_S_MAX = 2
CHECK_S = 1.0
"""How old an opinion on the credentials' file may be."""

ENDLESS = timedelta(days=36500)
ENDPOINT, ANONYMOUS, CONDITIONAL_PUT, CA_FILE = (
    "endpoint",
    "anonymous",
    "conditional_put",
    "ca_file",
)
_COMMON = {ENDPOINT, ANONYMOUS, CONDITIONAL_PUT, CA_FILE}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "s3": {
        ENDPOINT: "endpoint",
        "region": "region",
        "virtual_hosted_style": "virtual_hosted_style_request",
        "server_side_encryption": "server_side_encryption",
        "sse_kms_key_id": "sse_kms_key_id",
    },
    "gs": {ENDPOINT: "base_url"},
    "az": {ENDPOINT: "endpoint", "account": "account_name"},
}
"""Options of a backend by scheme, and what obstore calls them; ``_COMMON`` beside them."""

_AZURE_KINDS = {
    "account_key": "access_key",
    "sas_key": "sas_token",
    "token": "bearer_token",
    "client_secret": "client_secret",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clients of one store. ``once`` repeats nothing: after a conditional put that was
    repeated, nobody would know who was first.
    """

    client: "Client"
    once: "Client"


class Clients:
    """The clients of one store, as its credentials are now."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._scheme = urlsplit(settings.url).scheme
        self._credentials = StoreCredentials(settings.label, self._scheme, settings.credentials)
        self._lock = asyncio.Lock()
        self._pair: Pair | None = None
        self._seen: Seen | None = None
        self._checked_s = 0.0

    async def current(self) -> Pair:
        """Raises Unavailable: the credentials can't be read or used."""
        if self._pair is not None and time.monotonic() - self._checked_s < CHECK_S:
            return self._pair
        async with self._lock:
            seen = await self._credentials.seen()
            if self._pair is None or seen != self._seen:
                secrets = await self._credentials.read()
                self._pair = await asyncio.to_thread(self._made, secrets)
            self._seen, self._checked_s = seen, time.monotonic()
            return self._pair

    def _made(self, secrets: Mapping[str, str] | None) -> Pair:
        from obstore import exceptions

        try:
            return Pair(self._client(secrets, RETRIES), self._client(secrets, 0))
        except (exceptions.BaseError, OSError, TypeError, ValueError) as error:
            raise fault_of(error, self._settings.label) from None

    def _client(self, secrets: Mapping[str, str] | None, retries: int) -> "Client":
        from obstore import store

        maker: Callable[..., Any] = {
            "s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore,
        }[self._scheme]  # fmt: skip
        parts = urlsplit(self._settings.url)
        more: dict[str, Any] = {}
        config = config_of(self._settings.options, self._scheme)
        if secrets is not None and self._scheme == "s3":
            # Whole, so that nothing of another identity comes along from the environment.
            given = {"token": None, **secrets, "expires_at": None}
            more["credential_provider"] = lambda: given
        elif secrets is not None:
            config |= secrets
        if secrets is not None and self._scheme == "az":
            kind = next((kind for name, kind in _AZURE_KINDS.items() if name in secrets), None)
            config |= {"credential_type": kind} if kind else {}
        client: Client = maker(
            parts.netloc,
            prefix=unquote(parts.path).strip("/") or None,
            config=config,
            client_options=client_options(self._settings.options),
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=self._settings.timeout_s),
                "backoff": {"max_backoff": timedelta(seconds=RETRY_S_MAX)},
            },
            **more,
        )
        return client


def check_options(options: Mapping[str, str], scheme: str) -> None:
    """Raises Misuse: an option is unknown, or has a value that it can't have."""
    known = _COMMON | OPTIONS[scheme].keys()
    if not options.keys() <= known:
        raise Misuse(
            f"options of {scheme}:// are {', '.join(sorted(known))}",
            unknown=sorted(options.keys() - known),
        )
    for name in (ANONYMOUS, CONDITIONAL_PUT):
        if options.get(name, "true") not in {"true", "false"}:
            raise Misuse(f"{name} is true or false", value=options[name])
    path = options.get(CA_FILE)
    if path is not None and not Path(path).is_file():
        raise Misuse("ca_file is no file", path=path)


def config_of(options: Mapping[str, str], scheme: str) -> dict[str, Any]:
    """The configuration of obstore, without secrets."""
    names = OPTIONS[scheme]
    config: dict[str, Any] = {names[name]: options[name] for name in options.keys() & names}
    if options.get(ANONYMOUS) == "true":
        config["skip_signature"] = "true"
    if scheme == "s3":
        config["disable_bulk_delete"] = "true"  # Not all look-alikes have it.
    return config


def client_options(options: Mapping[str, str]) -> dict[str, Any]:
    """What obstore is told about HTTP."""
    found: dict[str, Any] = {
        "allow_http": urlsplit(options.get(ENDPOINT, "")).scheme == "http",
        "timeout": ENDLESS,
        "connect_timeout": timedelta(seconds=CONNECT_S),
    }
    if CA_FILE in options:
        found["root_certificate"] = Path(options[CA_FILE]).read_bytes()
    return found
