"""All that says who callers are and what they may do, from the settings of a service."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from octopull.config import load
from octopull.config.access import AccessSettings, IssuerSettings
from octopull.config.policy import PolicySettings
from octopull.http.client import Http
from octopull.kernel.errors import Misuse
from octopull.registry.access.authentication import Authentication, Signer
from octopull.registry.access.keys import FetchedKeys, KeptKeys, Keys
from octopull.registry.access.rights import Need
from octopull.runtime.tasks import Tasks
from octopull.security import htpasswd, issuing, key_sets, signed_tokens, static_tokens
from octopull.security.callers import Caller
from octopull.security.followed import Beside, FollowedFile, Following
from octopull.security.key_sets import KeySet
from octopull.security.passwords import Passwords
from octopull.security.policy import Decision, Policy, sentence
from octopull.security.signatures import ReadFile, no_files
from octopull.security.signed_tokens import Demands
from octopull.security.static_tokens import StaticTokens

T = TypeVar("T")
SECTION = "policy"
"""What mistakes in the file of rules are told under."""


class Files:
    """The files of one service's access.

    Raises:
        Misuse: one is wrong, or what reads it is not installed.

    """

    def __init__(self, settings: AccessSettings) -> None:
        service = settings.token_service
        self.all: list[Following] = []
        beside = Beside(settings.policy)
        self.policy = self._opened(
            settings.policy, "policy", partial(policy, read=beside.read), beside
        )
        self.users = self._opened(settings.htpasswd, "htpasswd", htpasswd.parse)
        self.tokens = self._opened(settings.tokens, "tokens", static_tokens.parse)
        self.signer = self._opened(service.key if service else "", "key", issuing.parse)
        self.keys = self._opened(service.keys if service else "", "keys", key_sets.parse)
        self.issuers = {
            one.name: self._opened(one.keys, f"keys of {one.name}", key_sets.parse)
            for one in settings.issuers
        }

    def _opened(
        self, path: str, what: str, parse: Callable[[bytes], T], beside: Beside | None = None
    ) -> FollowedFile[T] | None:
        if not path:
            return None
        found = FollowedFile(path, what, parse, beside)
        self.all.append(found)
        return found

    def public(self) -> list[KeySet]:
        """The keys that prove this cluster's own tokens."""
        own = [] if self.signer is None else [KeySet((self.signer.now.public,))]
        return own + ([] if self.keys is None else [self.keys.now])


@dataclass(frozen=True, slots=True)
class Access:
    """Who callers are, and what they may do, as the files say now."""

    settings: AccessSettings
    files: Files
    authentication: Authentication

    def decide(self, caller: Caller, need: Need) -> Decision:
        """Whether ``caller`` may do what is needed."""
        if caller.grants is not None:
            if need.within(caller.grants):
                return Decision(True, "the token grants it", "")
            return _ungranted(caller, need, "the token does not grant it")
        if self.files.policy is None:
            return _ungranted(caller, need, "only a token of the token service grants it")
        return self.files.policy.now.decide(caller, need.action, need.repository)


async def opened(settings: AccessSettings, http: Http, service: str, tasks: Tasks) -> Access:
    """The access of a service; ``tasks`` owns what follows its files.

    Raises:
        Misuse: a file is wrong, or what reads it is not installed.

    """
    check_installed(settings)
    files = await asyncio.to_thread(Files, settings)
    passwords = None if files.users is None else Passwords(partial(_now, files.users))
    tokens = StaticTokens({})
    authentication = Authentication(
        service,
        passwords,
        lambda: tokens if files.tokens is None else files.tokens.now,
        _signers(settings, files, http, tasks),
    )
    tasks.start(_follow(files.all, settings.check_s), "follow the files of access")
    return Access(settings, files, authentication)


def _ungranted(caller: Caller, need: Need, reason: str) -> Decision:
    told = f"{sentence(caller, need.action, need.repository)}: {reason}"
    return Decision(False, reason, told)


def _now(file: FollowedFile[T]) -> T:
    return file.now


async def _follow(files: Sequence[Following], check_s: float) -> None:
    while True:
        await asyncio.sleep(check_s)
        for file in files:
            await file.look()


def _signers(settings: AccessSettings, files: Files, http: Http, tasks: Tasks) -> list[Signer]:
    found = []
    service = settings.token_service
    if service is not None:
        keys: Keys = KeptKeys(files.public)
        if service.jwks:
            keys = FetchedKeys(http, service.issuer, service.jwks, tasks, service.authority)
        found.append(Signer(Demands.of(service), keys, signed_tokens.bearer))
    found.extend(_issuer(one, files.issuers[one.name], http, tasks) for one in settings.issuers)
    return found


def _issuer(
    settings: IssuerSettings, kept: FollowedFile[KeySet] | None, http: Http, tasks: Tasks
) -> Signer:
    keys: Keys = FetchedKeys(http, settings.issuer, settings.jwks, tasks, settings.authority)
    if kept is not None:
        keys = KeptKeys(lambda: [kept.now])
    caller = partial(signed_tokens.identity, settings=settings)
    return Signer(Demands.of(settings), keys, caller)


def policy(content: bytes, read: ReadFile = no_files) -> Policy:
    """The rules of a YAML file, whose keys ``read`` gets.

    Raises:
        Misuse: every mistake at once.

    """
    document = load.decode(content, "no rules")
    return Policy(load.load(PolicySettings, SECTION, {SECTION: document}, {}), read)


def check_installed(settings: AccessSettings) -> None:
    """Raises Misuse: what proves tokens is needed, and not installed."""
    if settings.token_service is None and not settings.issuers:
        return
    try:
        import cryptography
        import jwt

        del cryptography, jwt
    except ImportError as error:
        raise Misuse(f"tokens need the extra 'access' of octopull: {error}") from error
