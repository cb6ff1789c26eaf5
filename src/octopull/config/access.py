"""Who callers are, and where it is written what they may do (docs/access.md)."""

import ipaddress
import math
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from octopull.kernel.errors import Misuse

SIGNATURES = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""By a key of which only its owner has the secret half; others prove nothing here."""

LEEWAY_S_MAX = 300.0
LIFETIME_S_MAX = 3600.0
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """One that signs tokens which say who somebody is: OpenID Connect, or the like."""

    name: str
    """Users and groups of it are ``name:user`` and ``name:group``: no issuer can name ours."""
    issuer: str
    """What its tokens say as ``iss``; below it is the document that says where its keys are.

    That and ``jwks`` are fetched by https, but from this host itself.
    """
    audience: str
    """What its tokens must be meant for: ``aud``. Those for others are refused."""
    jwks: str = ""
    """Where its keys are, if no document says so."""
    keys: str = ""
    """Or a file of them: PEM, or a JSON Web Key Set."""
    authority: str = ""
    """PEM file of the authorities that vouch for where keys are fetched; empty: the system's."""
    algorithms: list[str] = field(default_factory=lambda: ["RS256", "ES256"])
    user_claim: str = "sub"
    groups_claim: str = "groups"
    leeway_s: float = 30.0
    """How far its clock and ours may differ."""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise Misuse("an issuer's name is of small letters, digits and dashes", name=self.name)
        if not self.issuer or not self.audience:
            raise Misuse("an issuer is known by issuer and audience", name=self.name)
        if self.jwks and self.keys:
            raise Misuse("an issuer's keys are at one place: jwks or keys", name=self.name)
        if not self.keys:
            _check_url(self.jwks or self.issuer, "jwks" if self.jwks else "issuer")
        elif self.authority:
            raise Misuse("an authority vouches for keys that are fetched", name=self.name)
        check_signatures(self.algorithms, self.leeway_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenServiceSettings:
    """Who gives the tokens that allow something: clients are sent there (docs/access.md).

    With ``key`` it is this proxy. Otherwise it is elsewhere, at ``realm``.
    """

    service: str = "octopull"
    """Whom tokens are for: the same in all proxies and agents of a cluster."""
    issuer: str = "octopull"
    realm: str = ""
    """The URL that gives tokens; empty: ``/token`` of this proxy, as the client reached it."""
    key: str = ""
    """PEM file of the private key that signs: P-256, or Ed25519; the same in all proxies."""
    keys: str = ""
    """PEM files' public keys, or a JSON Web Key Set, of the service; beside ``key``: old ones."""
    jwks: str = ""
    """Or where they are: ``/token/keys`` of a proxy."""
    authority: str = ""
    """PEM file of the authorities that vouch for ``jwks``, such as the cluster's; empty: the system's."""
    algorithms: list[str] = field(default_factory=lambda: ["ES256", "EdDSA", "RS256"])
    lifetime_s: float = 300.0
    """How long a token counts, and so how long an old decision may still be obeyed."""
    leeway_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.service or not self.issuer:
            raise Misuse("a token service has a service and an issuer")
        if not (self.key or self.keys or self.jwks):
            raise Misuse("a token service is known by its key, keys or jwks")
        if self.jwks and (self.key or self.keys):
            raise Misuse("a token service's keys are at one place: files or jwks")
        if self.authority and not self.jwks:
            raise Misuse("a token service's authority vouches for its jwks")
        if not self.key and not self.realm:
            raise Misuse("without the key, clients are sent to a realm")
        for url, what in ((self.realm, "realm"), (self.jwks, "jwks")):
            if url:
                _check_url(url, what)
        if not 0 < self.lifetime_s <= LIFETIME_S_MAX:
            raise Misuse("tokens live for at most an hour", lifetime_s=self.lifetime_s)
        check_signatures(self.algorithms, self.leeway_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Files, each read anew when it changes; one that is wrong then changes nothing."""

    policy: str = ""
    """Rules of who may do what. Without it, what a token service granted counts alone."""
    htpasswd: str = ""
    """Users and their passwords, by bcrypt or argon2: ``htpasswd -B``."""
    tokens: str = ""
    """Tokens that are not of short life, by their SHA-256."""
    issuers: list[IssuerSettings] = field(default_factory=list[IssuerSettings])
    token_service: TokenServiceSettings | None = None
    """Without it, clients show user and password with each request."""
    check_s: float = 2.0
    """How often files are looked at."""
    held_s: float = 600.0
    """How long it is believed that a repository holds something, before it is asked again: so long
    a blob may be served from a repository whose manifests no longer refer to it."""

    def __post_init__(self) -> None:
        service = self.token_service
        if not self.policy and (service is None or service.key):
            raise Misuse("access needs a policy, or a token service elsewhere that decides")
        known = [one.name for one in self.issuers]
        if len(set(known)) != len(known) or len({one.issuer for one in self.issuers}) != len(known):
            raise Misuse("each issuer is given once", names=known)
        if not 0 < self.check_s < math.inf or not 0 <= self.held_s < math.inf:
            raise Misuse("files are looked at every so often", check_s=self.check_s)


def check_signatures(algorithms: list[str], leeway_s: float) -> None:
    """Raises Misuse: one of ``algorithms`` proves nothing, or clocks may differ by too much."""
    if not algorithms or not SIGNATURES.issuperset(algorithms):
        raise Misuse(f"signatures are {', '.join(sorted(SIGNATURES))}", algorithms=algorithms)
    if not 0 <= leeway_s <= LEEWAY_S_MAX:
        raise Misuse("clocks differ by at most five minutes", leeway_s=leeway_s)


def _check_url(url: str, what: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None:
        raise Misuse(f"{what} is a URL with https://, and has no user in it")
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        # Whoever is on the way could bring keys of their own, or read passwords.
        raise Misuse(f"{what} is a URL with https://; http:// is for this host itself", url=url)


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
