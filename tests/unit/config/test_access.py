"""Settings of access: what would leave a door open, or make no sense, is refused at start."""

from typing import Any

import pytest

from octopull.config.access import AccessSettings, IssuerSettings, TokenServiceSettings
from octopull.kernel.errors import Misuse

ISSUER: dict[str, Any] = {"name": "idp", "issuer": "https://idp", "audience": "octopull"}


def test_without_rules_somebody_else_has_to_decide() -> None:
    for service in (None, TokenServiceSettings(key="token.key")):
        with pytest.raises(Misuse, match="needs a policy"):
            AccessSettings(token_service=service)
    elsewhere = TokenServiceSettings(realm="https://auth/token", jwks="https://auth/keys")
    assert AccessSettings(token_service=elsewhere).policy == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Idp"}, {"name": "a:b"}, {"audience": ""}, {"issuer": ""}, {"issuer": "idp"},
        {"issuer": "http://idp"}, {"jwks": "http://idp/keys"}, {"jwks": "http://10.0.0.1/keys"},
        {"jwks": "http://localhost.example/keys"}, {"jwks": "ftp://idp/keys"}, {"jwks": "https://user:password@idp/keys"},
        {"jwks": "https://idp/keys", "keys": "keys.pem"}, {"algorithms": ["none"]},
        {"algorithms": []}, {"algorithms": ["HS256"]}, {"leeway_s": 3600.0},
        {"keys": "keys.pem", "authority": "authority.pem"},
    ],
)  # fmt: skip
def test_an_issuer_that_proves_nothing_is_refused(changed: dict[str, Any]) -> None:
    assert IssuerSettings(**ISSUER)
    with pytest.raises(Misuse):
        IssuerSettings(**{**ISSUER, **changed})


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"keys": "k.pem"}, {"jwks": "https://auth/keys"}, {"key": "k", "lifetime_s": 86400.0},
        {"key": "k", "jwks": "https://auth/keys"}, {"key": "k", "service": ""},
        {"realm": "auth", "keys": "k.pem"}, {"realm": "http://auth/token", "keys": "k.pem"},
        {"realm": "https://auth/token", "jwks": "http://auth/keys"}, {"key": "k", "authority": "a.pem"},
    ],
)  # fmt: skip
def test_a_token_service_that_can_not_be_asked_or_believed_is_refused(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(Misuse):
        TokenServiceSettings(**settings)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
def test_http_is_for_this_host_itself(host: str) -> None:
    assert IssuerSettings(**{**ISSUER, "issuer": f"http://{host}"})
    assert TokenServiceSettings(realm=f"http://{host}/token", jwks=f"http://{host}/token/keys")


def test_an_issuer_whose_keys_are_in_a_file_may_have_any_name() -> None:
    assert IssuerSettings(**{**ISSUER, "issuer": "http://idp", "keys": "keys.pem"})


def test_no_two_issuers_can_be_taken_for_each_other() -> None:
    for other in ({"issuer": "https://other"}, {"name": "other"}):
        with pytest.raises(Misuse, match="once"):
            AccessSettings(
                policy="p",
                issuers=[IssuerSettings(**ISSUER), IssuerSettings(**{**ISSUER, **other})],
            )
