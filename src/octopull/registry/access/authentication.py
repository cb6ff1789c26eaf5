"""From what a request shows to who sends it."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from octopull.http.crowd import address_of
from octopull.kernel.errors import Unauthenticated
from octopull.observability import metrics
from octopull.registry.access.keys import Keys
from octopull.security import credentials, signed_tokens
from octopull.security.callers import NOBODY, Caller
from octopull.security.credentials import Bearer
from octopull.security.identity import CertificateNames, caller_certificate
from octopull.security.passwords import Passwords
from octopull.security.signed_tokens import Claims, Demands, Unproven
from octopull.security.static_tokens import StaticTokens

WRONG = "wrong user or password"
NO_PASSWORDS = "no passwords are taken here, only tokens"
INVALID = "the token is not known here"


@dataclass(frozen=True, slots=True)
class Signer:
    """One that signs tokens, and what they say of their bearer."""

    demands: Demands
    keys: Keys
    caller: Callable[[Claims], Caller]


class Authentication:
    """Knows users, tokens, and those who sign tokens; ``service`` counts in metrics."""

    def __init__(
        self, service: str, passwords: Passwords | None, tokens: Callable[[], StaticTokens],
        signers: Sequence[Signer],
    ) -> None:  # fmt: skip
        self._service = service
        self._passwords = passwords
        self._tokens = tokens
        self._signers = signers

    async def caller(self, request: web.Request) -> Caller:
        """Who sends ``request``; nobody, if it shows nothing.

        Raises:
            Unauthenticated: it shows what proves nothing. Unavailable: nobody can tell now.

        """
        certificate = caller_certificate(request.transport)
        shown = credentials.parse(request.headers.get("Authorization"))
        if shown is None:
            found = NOBODY
        elif isinstance(shown, Bearer):
            found = await self.bearer(shown.token)
        else:
            address = address_of(request.transport)
            found = await self.login(shown.user, shown.password, address)
        if certificate is None:
            return found
        if shown is None:
            self._count("certificate", "proven")
        return replace(found, certificates=names_of(certificate))

    async def bearer(self, token: str) -> Caller:
        """Whose a token is; raises as ``caller``."""
        found = self._tokens().caller(token, dt.datetime.now(dt.UTC))
        if found is not None:
            self._count("token", "proven")
            return found
        if not signed_tokens.looks_signed(token):
            self._count("token", "refused")
            raise Unauthenticated(INVALID)
        return await self._signed(signed_tokens.read(token))

    async def login(self, user: str, password: str, address: str) -> Caller:
        """Whose a password is that came from ``address``, or a token in its place.

        Raises as ``caller``, and TooMany: the address has too many passwords compared.
        """
        found = self._tokens().caller(password, dt.datetime.now(dt.UTC))
        if found is not None:
            self._count("token", "proven")
            return found
        if self._signers and signed_tokens.looks_signed(password):
            unproven = signed_tokens.read(password)
            if self._of(unproven):
                return await self._signed(unproven)
        if self._passwords is None:
            raise Unauthenticated(NO_PASSWORDS)
        if not await self._passwords.match(user, password, address):
            self._count("password", "refused")
            raise Unauthenticated(WRONG)
        self._count("password", "proven")
        return Caller(name=user)

    def _of(self, token: Unproven) -> list[Signer]:
        return [one for one in self._signers if one.demands.issuer == token.issuer]

    async def _signed(self, token: Unproven) -> Caller:
        refused = Unauthenticated("the token is of an issuer that is not known here")
        for signer in self._of(token):
            keys = await signer.keys.named(token.key_id)
            try:
                found = signer.caller(signed_tokens.prove(token, keys, signer.demands))
            except Unauthenticated as fault:
                refused = fault
            else:
                self._count("signed", "proven")
                return found
        self._count("signed", "refused")
        raise refused

    def _count(self, kind: str, outcome: str) -> None:
        metrics.LOGINS.labels(self._service, kind, outcome).inc()


def names_of(certificate: CertificateNames) -> tuple[str, ...]:
    """What rules may call the certificate by."""
    every = (
        certificate.common, *certificate.dns, *certificate.uris, *certificate.emails,
        *certificate.addresses,
    )  # fmt: skip
    return tuple(dict.fromkeys(name for name in every if name))
