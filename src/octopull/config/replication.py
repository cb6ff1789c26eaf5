"""Which repositories go to which other clusters or registries: a file of its own, read anew while
the tag index runs.
"""

import math
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from octopull.config.backends import check_credentials, check_match
from octopull.kernel import names
from octopull.kernel.errors import InvalidName, Misuse

CHUNK_BYTES_MIN = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSettings:
    """Where the tag index finds its rules."""

    rules: str = ""
    """The file of rules (docs/replication.md); empty: nothing is replicated."""
    check_s: float = 2.0
    """How often it is looked at. A file that is wrong changes nothing."""

    def __post_init__(self) -> None:
        if not 0 < self.check_s < math.inf:
            raise Misuse("the rules are looked at every so often", check_s=self.check_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """Another cluster, by the address of its proxy, or any other registry."""

    name: str
    """In rules, logs, metrics and ``octopull status``."""
    url: str
    """``https://host``, or ``https://host/prefix``, which then begins the names of repositories."""
    credentials: str = ""
    """A file with ``user:password`` in its first line, or docker's ``config.json``, read anew for
    each token. Secrets have no place in this object."""
    username_variable: str = ""
    """The environment variables that hold user and password, instead of a file."""
    password_variable: str = ""
    credential_helper: str = ""
    """Or what ``docker-credential-<this> get`` says."""
    bytes_per_s: int | None = None
    """Of all blobs sent there; null for no limit."""
    tags_at_once: int = 4
    streams: int = 8
    """Blobs on their way at once: one stream seldom fills a long link."""
    chunk_bytes: int | None = 64 * 1024 * 1024
    """Blobs are sent in requests of at most so many bytes: what was broken off goes on behind the
    last whole one, at the latest. Null: each in one."""
    timeout_s: float = 30.0
    """How long an answer may take, or the next bytes to be taken."""
    retry_s: float = 1.0
    retry_s_max: float = 5.0
    """First and longest rest of a remote that fails: so long it may stay alone once it is back."""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise Misuse("a remote's name is of letters, digits, dots and dashes", name=self.name)
        _check_url(self.url, self.name)
        check_credentials(self.credentials, self.username_variable, self.password_variable,
                          self.credential_helper, name=self.name)  # fmt: skip
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise Misuse("a limit is positive; null lifts it", name=self.name)
        if min(self.tags_at_once, self.streams) < 1:
            raise Misuse("at least one tag and one stream at a time", name=self.name)
        if self.chunk_bytes is not None and self.chunk_bytes < CHUNK_BYTES_MIN:
            raise Misuse("a chunk is not too small", name=self.name, least=CHUNK_BYTES_MIN)
        if self.timeout_s <= 0 or not 0 < self.retry_s <= self.retry_s_max:
            raise Misuse("pauses satisfy 0 < retry_s <= retry_s_max, and 0 < timeout_s",
                         name=self.name)  # fmt: skip


def _check_url(url: str, name: str) -> None:
    # A URL with a user may hold a password, so none is shown.
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        if parts.path.strip("/"):
            names.repository(parts.path.strip("/"))
    except (ValueError, InvalidName):
        usable = False
    if not usable or parts.query or parts.fragment:
        raise Misuse("a remote's url is https://host or https://host/prefix, whose prefix begins "
                     "the names of repositories", name=name)  # fmt: skip
    if parts.username is not None or parts.password is not None:
        raise Misuse("credentials belong into a file or variables, not into the url", name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """Repositories that go to some remotes. Of several rules, the first that names a remote counts
    for it.
    """

    match: str
    """A regular expression that the whole repository must match."""
    remotes: list[str]
    deletes: bool = False
    """Whether tags and manifests that are deleted here are deleted there, too."""
    referrers: bool = False
    """Whether signatures, SBOMs and the like, which refer to a manifest, go along."""

    def __post_init__(self) -> None:
        check_match(self.match)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSettings:
    """The file of rules."""

    remotes: list[RemoteSettings] = field(default_factory=list[RemoteSettings])
    rules: list[RuleSettings] = field(default_factory=list[RuleSettings])

    def __post_init__(self) -> None:
        known = [one.name for one in self.remotes]
        if len(set(known)) != len(known):
            raise Misuse("each remote has a name of its own", names=known)
        unknown = sorted({one for rule in self.rules for one in rule.remotes} - set(known))
        if unknown:
            raise Misuse(f"rules name remotes that are not there: {', '.join(unknown)}")
