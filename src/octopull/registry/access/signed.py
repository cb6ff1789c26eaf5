"""Where signatures are demanded, only what they cover is served (docs/access.md, "Signed images")."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from octopull.clients.tag_index import TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Denied, Misuse, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.oci import signatures
from octopull.oci.manifests import Manifest
from octopull.oci.signatures import MANIFEST_BYTES_MAX, PAYLOAD_BYTES_MAX
from octopull.registry.access.fetched_signatures import FetchedSignatures, Read
from octopull.registry.access.verdicts import About, As, Verdicts
from octopull.security.signatures import Demands

log = logs.get("access")
DECIDE_S = 30.0
"""All that is asked and read for one pull: small blobs, of an upstream at worst."""


@dataclass(frozen=True, slots=True)
class _Under:
    """Demands of one repository, and what was found under the file that they are of."""

    demands: Demands
    verdicts: Verdicts


class Signed:
    """Asked before something is served; ``demands`` are those that count now.

    What was found good counts for ``hold_s`` seconds, or longer while nobody can be asked; it is
    forgotten when the demands change. ``service`` counts in metrics.
    """

    def __init__(
        self, demands: Callable[[], Demands], tags: TagIndex, read: Read, hold_s: float, service: str
    ) -> None:  # fmt: skip
        self._demands = demands
        self._tags = tags
        self._read = read
        self._fetched = FetchedSignatures(tags, read)
        self._hold_s = hold_s
        self._service = service
        self._of = demands()
        self._verdicts = Verdicts(hold_s)

    def demanded(self, repository: str) -> bool:
        """Whether not all of ``repository`` may be pulled."""
        return bool(self._demands().of(repository))

    async def check_manifest(
        self, repository: str, digest: Digest, content: bytes, manifest: Manifest
    ) -> None:
        """Returns if a manifest may be pulled: signed, listed by a signed index, or of signatures.

        Raises:
            Denied: it may not. Unavailable: nobody can tell.

        """
        under = self._under(repository)
        if not under.demands:
            return
        about = About(repository, digest)
        if signatures.is_artifact(content):
            for one in manifest.references:
                under.verdicts.found(About(repository, one.digest), As.PART, time.monotonic())
            return
        await self._decide(about, under, As.MANIFEST)
        under.verdicts.vouch(about, manifest, time.monotonic())

    async def check_blob(self, repository: str, digest: Digest) -> None:
        """Returns if a blob may be pulled: what may be pulled as a manifest leads to it.

        Raises:
            as ``check_manifest``.

        """
        under = self._under(repository)
        if under.demands:
            await self._decide(About(repository, digest), under, As.BLOB)

    def _under(self, repository: str) -> _Under:
        demands = self._demands()
        if demands is not self._of:
            self._of, self._verdicts = demands, Verdicts(self._hold_s)
        return _Under(demands.of(repository), self._verdicts)

    async def _decide(self, about: About, under: _Under, kind: As) -> None:
        if under.verdicts.counts(about, kind, time.monotonic()):
            self._count("signed")
            return
        try:
            told = await self._in_time(about, under, kind)
        except Unavailable as fault:
            if not under.verdicts.counted(about, kind):
                self._count("unknown")
                log.warning("signature.unknown", image=str(about), reason=str(fault))
                raise
            told = None
        if told is not None:
            self._count("refused")
            log.info("signature.refused", image=str(about), reason=told)
            raise Denied(told)
        self._count("signed")

    async def _in_time(self, about: About, under: _Under, kind: As) -> str | None:
        try:
            async with asyncio.timeout(DECIDE_S):
                return await self._refusal(about, under, kind)
        except TimeoutError as error:
            raise Unavailable("signatures can't be had in time", most_s=DECIDE_S) from error

    async def _refusal(self, about: About, under: _Under, kind: As) -> str | None:
        """Why it may not be pulled as ``kind``; None if it may, which is remembered."""
        as_manifest = kind is As.MANIFEST
        own = await self._unsigned(about, under) if as_manifest else None
        if as_manifest and own is None:
            return None
        above = await self._tags.signed_above(
            about.repository, about.digest, as_manifest=as_manifest
        )
        leading = [About(about.repository, one) for one in above]
        for one in leading:
            if await self._unsigned(one, under) is None:
                under.verdicts.found(about, kind, time.monotonic())
                return None
        if not as_manifest and await self._is_part(about, leading, under):
            return None
        return own or f"{about} is of no image that is signed by a key that {under.demands} demands"

    async def _unsigned(self, about: About, under: _Under) -> str | None:
        """Why a manifest is not signed itself; None if it is."""
        verdicts, now = under.verdicts, time.monotonic()
        if verdicts.counts(about, As.SIGNED, now):
            return None
        told = verdicts.refusal(about, now)
        if told is None:
            told = await self._fetched.refusal(about, under.demands)
            if told is None:
                verdicts.found(about, As.SIGNED, time.monotonic())
            else:
                verdicts.refuse(about, told, time.monotonic())
        return told

    async def _is_part(self, about: About, leading: list[About], under: _Under) -> bool:
        """Whether it is a part of a manifest of signatures, and no file system in disguise."""
        named = under.verdicts.counted(about, As.PART)
        for one in leading:
            named = named or await self._is_artifact(one)
        if not named:
            return False
        try:
            content = await self._read(about.repository, about.digest, PAYLOAD_BYTES_MAX)
        except (NotFound, Misuse):
            return False
        return signatures.is_document(content)

    async def _is_artifact(self, about: About) -> bool:
        try:
            content = await self._read(about.repository, about.digest, MANIFEST_BYTES_MAX)
        except (NotFound, Misuse):
            return False
        return signatures.is_artifact(content)

    def _count(self, outcome: str) -> None:
        metrics.SIGNATURE_DECISIONS.labels(self._service, outcome).inc()
