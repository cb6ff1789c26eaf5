"""A folder of certificates: an authority, and one pair of files for each that it issued to.

authority.pem            the authorities that count, the newest first; every host has it
authority.key            the newest one's key; it stays here
origin-host-1.pem/.key   of the origin host-1, and so on
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from octopull.kernel.errors import Corrupt, Misuse, NotFound
from octopull.security import authority
from octopull.security.authority import Certificate, Holder, Issued
from octopull.storage import durable

AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority.key"
KEY_MODE, CERTIFICATE_MODE = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate of the folder that is nobody's authority."""

    path: Path
    certificate: Certificate
    holder: Holder | None

    @property
    def key_path(self) -> Path:
        """Where its key is."""
        return self.path.with_suffix(".key")

    @property
    def paired(self) -> bool:
        """Whether its key is there and belongs to it, as it does unless a renewal was killed."""
        try:
            key = authority.read_key(_read(self.key_path), str(self.key_path))
        except (NotFound, Corrupt):
            return False
        return key.public_key() == self.certificate.public_key()


class CertificateFolder:
    """Makes and renews certificates in ``folder``; each file is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def authority_path(self) -> Path:
        """What every host needs to prove the others' certificates."""
        return self._folder / AUTHORITY

    @property
    def has_authority(self) -> bool:
        """Whether ``init`` was done."""
        return self.authority_path.exists() and (self._folder / AUTHORITY_KEY).exists()

    def paths(self, holder: Holder) -> tuple[Path, Path]:
        """Where the certificate of ``holder`` is, and its key."""
        stem = f"{holder.role}-{holder.names[0].replace(':', '_').replace('*', '_')}"
        return self._folder / f"{stem}.pem", self._folder / f"{stem}.key"

    def init(self, life: timedelta, *, force: bool = False) -> Certificate:
        """Make the authority.

        Raises:
            Misuse: there is one, and no ``force``.

        """
        if not force:
            self._must_lack(self.authority_path, self._folder / AUTHORITY_KEY)
        durable.make_folder(self._folder)
        made = authority.new_authority(authority.now(), life)
        self._keep_authority(made, [])
        return made.certificate

    def issue(self, holder: Holder, life: timedelta, *, force: bool = False) -> Path:
        """Make a certificate and its key; the certificate's path.

        Raises:
            NotFound: there is no authority yet.
            Misuse: ``holder`` has one, and no ``force``; or the authority has expired.

        """
        path, key_path = self.paths(holder)
        if not force:
            self._must_lack(path, key_path)
        made = authority.issue(self._signer(), holder, authority.now(), life)
        durable.put(key_path, made.key_pem(), mode=KEY_MODE)
        durable.put(path, made.certificate_pem(), mode=CERTIFICATE_MODE)
        return path

    def leaves(self) -> Iterator[Leaf]:
        """All certificates but the authority's, by their file names."""
        for path in sorted(self._folder.glob("*.pem")):
            if path.name != AUTHORITY:
                (first, *_) = authority.read_certificates(path.read_bytes(), str(path))
                yield Leaf(path, first, authority.holder_of(first))

    def renew(self, before: datetime | None, life: timedelta) -> list[Leaf]:
        """Issue anew whatever ends before that time or lacks its key, or all; what it was.

        A certificate that somebody else made is left alone.

        Raises:
            NotFound: there is no authority yet.

        """
        renewed = []
        self._signer()
        for leaf in self.leaves():
            ends = leaf.certificate.not_valid_after_utc
            due = before is None or ends < before or not leaf.paired
            if leaf.holder is not None and due:
                self.issue(leaf.holder, life, force=True)
                renewed.append(leaf)
        return renewed

    def roll(self, life: timedelta) -> Certificate:
        """A new authority before the old ones, which count until ``retire``."""
        made = authority.new_authority(authority.now(), life)
        self._keep_authority(made, self.authorities())
        return made.certificate

    def retire(self) -> list[Certificate]:
        """Have only the newest authority count; the others, which no longer do.

        Raises:
            Misuse: one of them signed a certificate of the folder.

        """
        signer, known = self._signer().certificate, self.authorities()
        old = [one for one in known if one != signer]
        for leaf in self.leaves():
            if authority.signer_of(leaf.certificate, old) is not None:
                raise Misuse(f"{leaf.path.name} is an old authority's: "
                             "octopull certs rotate --all, and bring the files to their hosts")  # fmt: skip
        durable.put(self.authority_path, authority.pem([signer]), mode=CERTIFICATE_MODE)
        return old

    def authorities(self) -> list[Certificate]:
        """Those that count, the newest first.

        Raises:
            NotFound: there is none yet.

        """
        return authority.read_certificates(_read(self.authority_path), str(self.authority_path))

    def _signer(self) -> Issued:
        """The authority whose key we have: a new one whose key was not kept signs nothing."""
        path = self._folder / AUTHORITY_KEY
        key = authority.read_key(_read(path), str(path))
        for certificate in self.authorities():
            if certificate.public_key() == key.public_key():
                return Issued(certificate, key)
        raise Misuse(f"{path} is the key of no authority in {self.authority_path}")

    def _keep_authority(self, made: Issued, others: list[Certificate]) -> None:
        # The certificate comes first: a key without its certificate would sign for nobody.
        bundle = authority.pem([made.certificate, *others])
        durable.put(self.authority_path, bundle, mode=CERTIFICATE_MODE)
        durable.put(self._folder / AUTHORITY_KEY, made.key_pem(), mode=KEY_MODE)

    @staticmethod
    def _must_lack(*paths: Path) -> None:
        for path in paths:
            if path.exists():
                raise Misuse(f"{path} is there already; --force replaces it")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there: octopull certs init") from error
    except OSError as error:
        raise Misuse(f"{path} can't be read: {error.strerror}") from error
