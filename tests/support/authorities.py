"""Authorities and certificates for tests: as they should be, or wrong in one way."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from octopull.config.tls import ClusterTls
from octopull.security import authority
from octopull.security.authority import Holder, Issued
from octopull.security.roles import Role
from octopull.storage import durable

DAY = timedelta(days=1)
HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Authority:
    """One authority; all it makes is in files of ``folder``."""

    folder: Path
    made: Issued

    @property
    def path(self) -> Path:
        """Its certificate."""
        return self.folder / "authority.pem"

    def files(
        self, role: Role, *names: str, name: str = "", ago: timedelta = timedelta(),
        life: timedelta = DAY,
    ) -> ClusterTls:  # fmt: skip
        """A certificate of that role, for this machine's names unless others are given.

        It was made some time ``ago``; its file is called by ``name``, or else by its role.
        """
        holder = Holder(role, names or HERE)
        issued = authority.issue(self.made, holder, authority.now() - ago, life)
        path = self.folder / f"{name or role}.pem"
        durable.put(path.with_suffix(".key"), issued.key_pem())
        durable.put(path, issued.certificate_pem())
        return ClusterTls(
            authority=str(self.path), certificate=str(path), key=str(path.with_suffix(".key"))
        )


def new(folder: Path) -> Authority:
    """An authority that is thirty days old."""
    folder.mkdir()
    made = authority.new_authority(authority.now() - 30 * DAY, 3650 * DAY)
    found = Authority(folder, made)
    durable.put(found.path, made.certificate_pem())
    return found
