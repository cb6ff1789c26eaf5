"""Tokens that somebody signed (JSON Web Tokens, RFC 7519): what is proven of them, and what not."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octopull.config.access import IssuerSettings, TokenServiceSettings
from octopull.kernel.errors import Misuse, Unauthenticated
from octopull.security import scopes
from octopull.security.callers import Caller
from octopull.security.key_sets import Key

TOKEN_CHARS_MAX = 16 * 1024
KEYS_TRIED_MAX = 8
CLAIM_VALUES_MAX = 200
CLAIM_CHARS_MAX = 1024
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unproven:
    """What a token says of itself; it serves to find the keys that may prove it."""

    text: str
    issuer: str
    algorithm: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Demands:
    """What a token must say to be believed."""

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway_s: float

    @classmethod
    def of(cls, settings: IssuerSettings | TokenServiceSettings) -> "Demands":
        """Those of a signer."""
        audience = settings.audience if isinstance(settings, IssuerSettings) else settings.service
        return cls(settings.issuer, audience, settings.algorithms, settings.leeway_s)


def looks_signed(text: str) -> bool:
    """Whether ``text`` has the form of a signed token."""
    return len(text) <= TOKEN_CHARS_MAX and _FORM.fullmatch(text) is not None


def read(text: str) -> Unproven:
    """What a token says, proven or not.

    Raises:
        Unauthenticated: it is none.

    """
    import jwt

    try:
        if not looks_signed(text):
            raise jwt.DecodeError
        found = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Unauthenticated("this is no token") from error
    header, issuer = found["header"], found["payload"].get("iss")
    return Unproven(
        text,
        issuer if isinstance(issuer, str) else "",
        str(header.get("alg", "")),
        str(header.get("kid", "")),
    )


def prove(token: Unproven, keys: Sequence[Key], demands: Demands) -> Claims:
    """The claims of a token that one of ``keys`` signed and that is as demanded, now.

    Raises:
        Unauthenticated: it is not; the sentence says why.

    """
    import jwt

    if token.algorithm not in demands.algorithms:
        raise Unauthenticated(f"tokens signed by {token.algorithm[:20]!r} are not taken here")
    for key in keys[:KEYS_TRIED_MAX]:
        try:
            return jwt.decode(
                token.text, key.public, algorithms=[token.algorithm], audience=demands.audience,
                issuer=demands.issuer, leeway=demands.leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError, jwt.InvalidAlgorithmError):
            continue  # Another key's.
        except jwt.PyJWTError as error:
            raise Unauthenticated(_why(error)) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise Unauthenticated("the token can't be understood") from error
    raise Unauthenticated("the token is signed by nobody that is known here")


def _why(error: Exception) -> str:
    import jwt

    reasons: dict[type[Exception], str] = {
        jwt.ExpiredSignatureError: "the token has expired",
        jwt.ImmatureSignatureError: "the token does not count yet",
        jwt.InvalidAudienceError: "the token is meant for somebody else",
        jwt.InvalidIssuerError: "the token is of another issuer",
        jwt.MissingRequiredClaimError: "the token lacks exp, iss or aud",
    }
    return reasons.get(type(error), "the token can't be understood")


def identity(claims: Claims, settings: IssuerSettings) -> Caller:
    """Who an issuer's token says somebody is.

    Raises:
        Unauthenticated: it names nobody.

    """
    user = claims.get(settings.user_claim)
    if not isinstance(user, str) or not user:
        raise Unauthenticated(f"the token has no {settings.user_claim}")
    groups = _texts(claims.get(settings.groups_claim))
    return Caller(
        name=f"{settings.name}:{user}",
        groups=frozenset(f"{settings.name}:{group}" for group in groups),
        claims={f"{settings.name}:{name}": _texts(value) for name, value in claims.items()},
    )


def bearer(claims: Claims) -> Caller:
    """Whom a token service says it gave a token, and for what.

    Raises:
        Unauthenticated: what it grants can't be understood.

    """
    subject = claims.get("sub", "")
    try:
        grants = scopes.granted(claims.get("access"))
    except Misuse as fault:
        raise Unauthenticated(str(fault)) from fault
    return Caller(name=subject if isinstance(subject, str) else "", grants=grants)


def _texts(value: object) -> tuple[str, ...]:
    """A claim's values that rules may name: texts, numbers and truths, one or several."""
    values = value if isinstance(value, list) else [value]
    plain = (one for one in values[:CLAIM_VALUES_MAX] if isinstance(one, str | int | float))
    return tuple(_text(one)[:CLAIM_CHARS_MAX] for one in plain)


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
