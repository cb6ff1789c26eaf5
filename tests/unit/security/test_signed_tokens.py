"""Tokens that somebody signed: believed if all is as demanded, and told why not."""

import base64
import contextlib
import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from octopull.config.access import IssuerSettings, TokenServiceSettings
from octopull.kernel.errors import Misuse, Unauthenticated
from octopull.security import issuing, key_sets, signed_tokens
from octopull.security.key_sets import Key
from octopull.security.scopes import Scope
from octopull.security.signed_tokens import Demands

ISSUER = IssuerSettings(
    name="idp", issuer="https://idp.example", audience="registry",
    algorithms=["ES256", "RS256", "EdDSA"],
)  # fmt: skip
PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = Key("one", PRIVATE.public_key())
OTHER = Key("two", ec.generate_private_key(ec.SECP256R1()).public_key())


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "iss": ISSUER.issuer, "aud": "registry", "sub": "alice", "exp": now + 60, "iat": now, **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def signed(algorithm: str = "ES256", key: Any = PRIVATE, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers={"kid": "one"})


def prove(token: str, *keys: Key) -> dict[str, Any]:
    read = signed_tokens.read(token)
    return dict(signed_tokens.prove(read, keys or (OTHER, KEY), Demands.of(ISSUER)))


def test_a_token_that_is_as_demanded_says_who_somebody_is() -> None:
    token = signed(
        groups=["staff", "ops"], repository="acme/app", email_verified=True, aud=["registry", "x"]
    )
    caller = signed_tokens.identity(prove(token), ISSUER)
    assert caller.name == "idp:alice"
    assert caller.groups == {"idp:staff", "idp:ops"}
    assert caller.claims["idp:repository"] == ("acme/app",)
    assert caller.claims["idp:email_verified"] == ("true",)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"nbf": 2**40}, "not count yet"),
        ({"aud": "another"}, "somebody else"),
        ({"aud": None}, "lacks"),
        ({"exp": None}, "lacks"),
        ({"iss": "https://evil.example"}, "another issuer"),
    ],
)
def test_a_token_that_is_not_as_demanded_is_told_why(more: dict[str, Any], why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        prove(signed(**more))


def test_a_token_that_expired_within_the_leeway_still_counts() -> None:
    assert prove(signed(exp=int(time.time()) - 10))["sub"] == "alice"


def test_a_signature_of_somebody_else_proves_nothing() -> None:
    with pytest.raises(Unauthenticated, match="nobody that is known"):
        prove(signed(key=ec.generate_private_key(ec.SECP256R1())))


def test_neither_no_signature_nor_a_shared_secret_is_taken() -> None:
    public = KEY.public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for token in (signed("none", None), signed("HS256", base64.b64encode(public) + b"x" * 32)):
        with pytest.raises(Unauthenticated, match=r"are not taken here|no token"):
            prove(token)
    with pytest.raises(Misuse):
        IssuerSettings(name="x", issuer="https://x", audience="y", algorithms=["HS256"])


def test_changing_any_character_makes_a_token_worthless() -> None:
    token = signed()
    for at in range(0, len(token) - 1, 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(Unauthenticated):
            prove(changed)


@given(st.text(max_size=100) | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(
    lambda parts: ".".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts)))  # fmt: skip
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with contextlib.suppress(Unauthenticated):
        signed_tokens.read(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["sub", "groups", "access", "x"]), json_values))
def test_any_claims_name_a_caller_or_nobody(found: dict[str, Any]) -> None:
    for read in (lambda one: signed_tokens.identity(one, ISSUER), signed_tokens.bearer):
        with contextlib.suppress(Unauthenticated):
            read(found)


# Keys, and tokens of our own.


def pem(public: Any) -> bytes:
    found: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(PRIVATE.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        .sign(PRIVATE, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip


def test_keys_come_from_pem_certificates_and_sets() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    ed_key = ed25519.Ed25519PrivateKey.generate().public_key()
    read = key_sets.parse(pem(KEY.public) + b"# note\n" + pem(rsa_key) + pem(ed_key))
    again = key_sets.parse(issuing.shown(read))
    assert [key.id for key in again.keys] == [key.id for key in read.keys]
    assert [pem(key.public) for key in again.keys] == [pem(key.public) for key in read.keys]
    assert key_sets.parse(certificate()).keys == (Key(read.keys[0].id, KEY.public),)
    assert prove(signed(), *key_sets.parse(certificate()).keys)["sub"] == "alice"


def test_a_set_keeps_what_can_be_used_and_never_a_shared_secret() -> None:
    good = json.loads(issuing.shown(key_sets.parse(pem(KEY.public))))["keys"][0]
    others = [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-256"},
        {**good, "use": "enc"},
        {"kty": "new"},
    ]
    found = key_sets.parse(json.dumps({"keys": [*others, good]}).encode())
    assert [key.id for key in found.keys] == [good["kid"]]
    with pytest.raises(Misuse):
        key_sets.parse(json.dumps({"keys": others}).encode())


def test_a_key_that_is_named_is_the_only_one_tried() -> None:
    found = key_sets.KeySet((KEY, OTHER, Key("", KEY.public)))
    assert found.named("one") == [KEY]
    assert found.named("three") == [Key("", KEY.public)]
    assert found.named("") == list(found.keys)


def test_a_key_of_a_kind_that_is_not_known_is_refused() -> None:
    lines = pem(KEY.public).decode().splitlines()
    # Of the identifier of elliptic curves, the last number is another.
    lines[1] = lines[1].replace("KoZIzj0CAQ", "KoZIzj0CJQ")
    with pytest.raises(Misuse, match="can't be read"):
        key_sets.parse("\n".join(lines).encode())


@given(st.binary(max_size=200) | json_values.map(lambda one: json.dumps({"keys": [one]}).encode()))
def test_any_bytes_are_keys_or_a_misuse(content: bytes) -> None:
    for one in (content, b"-----BEGIN PUBLIC KEY-----" + content + b"-----END PUBLIC KEY-----"):
        with contextlib.suppress(Misuse):
            key_sets.parse(one)


def test_a_token_of_our_own_says_whom_it_was_given_and_for_what(tmp_path: Path) -> None:
    issuing.made(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    issuing.made(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    signer = issuing.parse(before)
    settings = TokenServiceSettings(key="key", lifetime_s=60)
    grants = (Scope("repository", "team/app", ("pull",)),)
    token = signer.token(settings, "alice", grants, time.time())
    proven = signed_tokens.prove(signed_tokens.read(token), [signer.public], Demands.of(settings))
    caller = signed_tokens.bearer(proven)
    assert (caller.name, caller.grants) == ("alice", grants)
    old = signer.token(settings, "alice", grants, time.time() - 100)
    with pytest.raises(Unauthenticated, match="expired"):
        signed_tokens.prove(signed_tokens.read(old), [signer.public], Demands.of(settings))


@given(st.binary(max_size=100))
def test_any_file_is_a_private_key_or_a_misuse(content: bytes) -> None:
    with pytest.raises(Misuse):
        issuing.parse(content)
