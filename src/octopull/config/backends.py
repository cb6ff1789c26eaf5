"""Storage that is not ours: where blobs and tags are kept beyond the cluster's own disks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from octopull.kernel.errors import Misuse

SCHEMES = frozenset(
    {"file", "s3", "gs", "az", "hdfs", "http", "https", "registry+http", "registry+https"}
)
TAG_SCHEMES = (SCHEMES - {"http", "https"}) | {"sqlite", "postgresql"}


class BlobLayout(StrEnum):
    """Under which key a blob is kept; see backends/layouts.py."""

    SHARDED_DOCKER_BLOB = "sharded_docker_blob"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """One store of blobs. Origins alone speak to it."""

    url: str
    """``file:///folder``, ``s3://bucket/root``, ``gs://bucket/root``, ``az://container/root``,
    ``hdfs://namenode:9870,other:9870/root``, ``https://host/path`` (only read; ``{key}``,
    ``{namespace}``, ``{hex}`` and ``{digest}`` in it are filled in), or
    ``registry+https://host/prefix``."""
    match: str = ".*"
    """A regular expression that the whole namespace must match; the first backend counts."""
    name: str = ""
    """In logs, metrics and ``octopull status``; empty: the url."""
    layout: BlobLayout = BlobLayout.SHARDED_DOCKER_BLOB
    read_only: bool = False
    deletes: bool = False
    """Whether garbage collection removes blobs there, too: never with what others write to."""
    credentials: str = ""
    """A file with what the store's client needs (docs/backends.md), read again when it changes;
    empty: the environment."""
    options: dict[str, str] = field(default_factory=dict[str, str])
    """More for the store's client, such as ``endpoint`` and ``region``; no secrets."""
    timeout_s: float = 30.0
    """How long an answer may take, or the next bytes of a body."""
    attempts_max: int = 4
    """Attempts at what is safe to repeat, with growing pauses."""
    hedge_s: float = 0.0
    """After so long without a first byte a read is asked for once more, and the faster one counts;
    0: never."""
    requests_max: int = 16
    """Requests at once, of one origin."""
    read_streams: int = 4
    """Ranges of one large blob read at once."""
    in_bytes_per_s: int | None = None
    out_bytes_per_s: int | None = None
    """Limits for what is read from it and written to it, of one origin; null for none."""
    blob_bytes_max: int = 1 << 40
    """Larger blobs are neither fetched nor written."""
    shadow: "BackendSettings | None" = None
    """A second store that is written, too, and compared, and never read for users: to move from
    one to the other."""

    def __post_init__(self) -> None:
        check_url(self.url, SCHEMES)
        check_match(self.match)
        if self.timeout_s <= 0 or self.hedge_s < 0:
            raise Misuse("durations must not be negative", url=self.label)
        if min(self.attempts_max, self.requests_max, self.read_streams) < 1:
            raise Misuse("at least one attempt, request and stream", url=self.label)
        for rate in (self.in_bytes_per_s, self.out_bytes_per_s):
            if rate is not None and rate <= 0:
                raise Misuse("a limit is positive; null lifts it", url=self.label)
        if self.shadow is not None and self.shadow.shadow is not None:
            raise Misuse("a shadow has no shadow", url=self.label)

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.url


def check_url(url: str, schemes: frozenset[str]) -> None:
    """Raise Misuse if ``url`` is of none of ``schemes``, names no place, or holds a secret."""
    # A URL with a user may hold a password, so none is shown.
    try:
        parts = urlsplit(url)
        scheme, place = parts.scheme, parts.path if parts.scheme == "file" else parts.netloc
    except ValueError:
        scheme = place = ""
    if scheme not in schemes or (not place and scheme != "sqlite"):
        raise Misuse("a backend's url is of one of these: " + ", ".join(sorted(schemes)))
    if "@" in parts.netloc:
        raise Misuse("credentials belong into a file or variables, not into the url")


def check_match(pattern: str) -> None:
    """Raise Misuse if ``pattern`` is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise Misuse(f"match is no regular expression: {error}", match=pattern) from error


def check_credentials(file: str, user: str, password: str, helper: str, **whose: str) -> None:
    """Raise Misuse unless they come from one place at most, which is named wholly."""
    if bool(user) != bool(password):
        raise Misuse("name the variables of both user and password", **whose)
    if sum(map(bool, (file, user, helper))) > 1:
        raise Misuse("credentials come from a file, from variables, or from a helper", **whose)


def check_backends(backends: "Sequence[BackendSettings | TagBackendSettings]") -> None:
    """Raise Misuse if two of them have one name."""
    labels = [one.label for one in backends]
    if len(set(labels)) != len(labels):
        raise Misuse("each backend has a name of its own", names=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBackSettings:
    """How an origin brings pushed blobs to their backends."""

    at_once: int = 4
    """Blobs on their way to one backend; of small ones four times as many."""
    stagger_s: float = 60.0
    """How much later each further owner of a blob looks whether the first has written it."""
    retry_s: float = 1.0
    retry_s_max: float = 300.0
    """First and longest pause after a failure; it doubles."""

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise Misuse("at least one blob at a time", at_once=self.at_once)
        if self.stagger_s < 0 or not 0 < self.retry_s <= self.retry_s_max:
            raise Misuse("pauses satisfy 0 < retry_s <= retry_s_max, 0 <= stagger_s")

    def pause_s(self, attempts: int) -> float:
        """Until what failed ``attempts`` times before is tried again."""
        return min(self.retry_s * 2.0 ** min(attempts, 30), self.retry_s_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagBackendSettings:
    """One store of tags. Tag indexes alone speak to it."""

    url: str
    """As of a ``BackendSettings`` that can be written, laid out as ``docker_tag``; or
    ``postgresql://host/database``, or ``sqlite:///file``."""
    match: str = ".*"
    """A regular expression that the whole repository must match; the first backend counts."""
    name: str = ""
    """In logs, metrics and ``octopull status``; empty: the url."""
    read_only: bool = False
    credentials: str = ""
    """As of a ``BackendSettings``."""
    options: dict[str, str] = field(default_factory=dict[str, str])
    tag_ttl_s: float = 60.0
    """How long a tag that is not being written from here counts before the store is asked again:
    others may move it; 0 asks every time."""
    timeout_s: float = 30.0
    attempts_max: int = 4
    requests_max: int = 16
    write_back: WriteBackSettings = field(default_factory=WriteBackSettings)

    def __post_init__(self) -> None:
        check_url(self.url, TAG_SCHEMES)
        check_match(self.match)
        if self.timeout_s <= 0 or self.tag_ttl_s < 0:
            raise Misuse("durations must not be negative", url=self.label)
        if min(self.attempts_max, self.requests_max) < 1:
            raise Misuse("at least one attempt and request", url=self.label)

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.url
