"""Where another registry is, and how it may be asked, whether upstream, backend or remote."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import urlsplit

from octopull.config.backends import BackendSettings, TagBackendSettings, check_credentials
from octopull.config.replication import CHUNK_BYTES_MIN, RemoteSettings
from octopull.config.upstreams import UpstreamSettings
from octopull.kernel import names
from octopull.kernel.errors import InvalidName, Misuse

SCHEME_PREFIX = "registry+"
ATTEMPTS_MAX = 4
OPTIONS = frozenset({"username_variable", "password_variable", "credential_helper", "chunk_bytes"})


class Role(Enum):
    """What another registry is to this cluster, and counts as in metrics."""

    UPSTREAM = auto()
    BACKEND = auto()
    REMOTE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One registry. ``address`` is its URL before ``/v2/``, without a slash at its end."""

    name: str
    """For logs, metrics and users; docker's credentials may be filed under it."""
    address: str
    prefix: str = ""
    """What repositories begin with there: empty, or with a slash at its end."""
    credentials: str = ""
    username_variable: str = ""
    password_variable: str = ""
    credential_helper: str = ""
    role: Role = Role.UPSTREAM
    timeout_s: float
    requests_max: int
    attempts_max: int = ATTEMPTS_MAX
    chunk_bytes: int | None = None
    """Blobs are pushed in requests of at most so many bytes; None: each in one."""
    in_bytes_per_s: int | None = None
    out_bytes_per_s: int | None = None

    @property
    def host(self) -> str:
        """With the port, as docker's files name it."""
        return urlsplit(self.address).netloc

    def repository(self, namespace: str) -> str:
        """The repository of a namespace.

        Raises:
            InvalidName: there can be none of that name.

        """
        return names.repository(self.prefix + namespace)


def place_of_upstream(settings: UpstreamSettings) -> Place:
    """Of an upstream, whose repositories are asked for by their own names."""
    return Place(
        name=settings.name, address=settings.address, credentials=settings.credentials,
        username_variable=settings.username_variable,
        password_variable=settings.password_variable,
        credential_helper=settings.credential_helper,
        timeout_s=settings.timeout_s, requests_max=settings.requests_max,
    )  # fmt: skip


def place_of_remote(settings: RemoteSettings) -> Place:
    """Of another cluster's proxy, or of any registry that is written to."""
    parts = urlsplit(settings.url)
    prefix = parts.path.strip("/")
    return Place(
        name=settings.name, address=f"{parts.scheme}://{parts.netloc}",
        prefix=f"{prefix}/" if prefix else "", role=Role.REMOTE,
        credentials=settings.credentials, username_variable=settings.username_variable,
        password_variable=settings.password_variable,
        credential_helper=settings.credential_helper, timeout_s=settings.timeout_s,
        requests_max=settings.streams, chunk_bytes=settings.chunk_bytes,
        out_bytes_per_s=settings.bytes_per_s,
    )  # fmt: skip


def place_of_backend(settings: BackendSettings | TagBackendSettings) -> Place:
    """Of ``registry+https://host/prefix``.

    Raises:
        Misuse: the url or the options are of no use.

    """
    scheme, host, prefix = _parts(settings)
    options = settings.options
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise Misuse(f"a registry has no options {', '.join(unknown)}", backend=settings.label)
    username, password = (options.get(f"{one}_variable", "") for one in ("username", "password"))
    helper = options.get("credential_helper", "")
    check_credentials(settings.credentials, username, password, helper, backend=settings.label)
    reads, writes = _limits(settings)
    return Place(
        name=settings.label, address=f"{scheme}://{host}", prefix=prefix, role=Role.BACKEND,
        credentials=settings.credentials, username_variable=username, password_variable=password,
        credential_helper=helper,
        timeout_s=settings.timeout_s, requests_max=settings.requests_max,
        attempts_max=settings.attempts_max, chunk_bytes=_chunk_bytes(options, settings.label),
        in_bytes_per_s=reads, out_bytes_per_s=writes,
    )  # fmt: skip


def _limits(settings: BackendSettings | TagBackendSettings) -> tuple[int | None, int | None]:
    """Bytes per second in and out."""
    if isinstance(settings, TagBackendSettings):
        return None, None
    if settings.shadow is not None:
        raise Misuse("a registry can't have a shadow", backend=settings.label)
    return settings.in_bytes_per_s, settings.out_bytes_per_s


def _parts(settings: BackendSettings | TagBackendSettings) -> tuple[str, str, str]:
    """Scheme, host, and the prefix of repositories."""
    parts = urlsplit(settings.url)
    scheme, prefix = parts.scheme.removeprefix(SCHEME_PREFIX), parts.path.strip("/")
    try:
        usable = bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment)
        if prefix:
            names.repository(prefix)
    except (ValueError, InvalidName):
        usable = False
    if not usable or scheme not in {"http", "https"}:
        raise Misuse("a registry's url is registry+https://host/prefix, whose prefix begins the "
                     "names of repositories", backend=settings.label)  # fmt: skip
    return scheme, parts.netloc, f"{prefix}/" if prefix else ""


def _chunk_bytes(options: Mapping[str, str], label: str) -> int | None:
    text = options.get("chunk_bytes")
    if text is None:
        return None
    decimal = text.isascii() and text.isdecimal() and len(text) <= 15
    if not decimal or int(text) < CHUNK_BYTES_MIN:
        raise Misuse(f"chunk_bytes is a number of bytes, at least {CHUNK_BYTES_MIN}", backend=label)
    return int(text)
