"""The certificates of an embedded cluster: made where they lack, renewed while it runs."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from octopull.cli.certificate_folder import CertificateFolder
from octopull.config.services import Listen
from octopull.config.tls import ClusterTls, Tls
from octopull.security import authority
from octopull.security.authority import Holder
from octopull.security.lifetimes import DAY_S
from octopull.security.roles import Role
from octopull.storage import durable

LIFE, DUE = timedelta(days=90), timedelta(days=30)
AUTHORITY_LIFE = timedelta(days=3650)
LOCAL = ("localhost", "127.0.0.1", "::1")


class OwnCertificates:
    """One certificate for each role, for this machine's names and ``host``, under ``folder``."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = CertificateFolder(folder)
        self._names = tuple(dict.fromkeys([*LOCAL, host]))
        self.trusted = folder / "trusted"
        """For skopeo's ``--cert-dir`` and the like, which want a folder, and the ending .crt."""

    @property
    def operator(self) -> Path:
        """For ``octopull --tls``."""
        return self._folder.paths(self._holder(Role.OPERATOR))[0]

    def make(self) -> None:
        """Have all certificates there and good for a month. Blocking."""
        if not self._folder.has_authority:
            self._folder.init(AUTHORITY_LIFE, force=True)
        there = {leaf.holder for leaf in self._folder.leaves()}
        for holder in map(self._holder, Role):
            if holder not in there:
                self._folder.issue(holder, LIFE, force=True)
        self._folder.renew(authority.now() + DUE, LIFE)
        durable.make_folder(self.trusted)
        durable.put(self.trusted / "ca.crt", self._folder.authority_path.read_bytes())

    async def renew_daily(self) -> None:
        """``make``, until cancelled."""
        while True:
            await asyncio.sleep(DAY_S)
            await asyncio.to_thread(self.make)

    def of(self, role: Role) -> ClusterTls:
        """What a service of that role is configured with."""
        certificate, key = self._folder.paths(self._holder(role))
        return ClusterTls(
            authority=str(self._folder.authority_path), certificate=str(certificate), key=str(key)
        )

    def https(self, listen: Listen, role: Role) -> Listen:
        """``listen`` with a certificate for clients outside."""
        own = self.of(role)
        return replace(listen, tls=Tls(certificate=own.certificate, key=own.key))

    def _holder(self, role: Role) -> Holder:
        return Holder(role, self._names)
