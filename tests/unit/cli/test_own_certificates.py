"""The certificates of an embedded cluster: made once, and again where that is due."""

from datetime import timedelta
from pathlib import Path

from octopull.cli.certificate_folder import CertificateFolder
from octopull.cli.own_certificates import OwnCertificates
from octopull.security import mutual
from octopull.security.roles import Role


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_and_lasts_is_left_as_it_is(tmp_path: Path) -> None:
    OwnCertificates(tmp_path, "127.0.0.1").make()
    before = content(tmp_path)
    again = OwnCertificates(tmp_path, "127.0.0.1")
    again.make()
    assert content(tmp_path) == before
    for role in Role:
        mutual.load(again.of(role), role)


def test_another_address_has_certificates_renewed_and_the_authority_kept(tmp_path: Path) -> None:
    OwnCertificates(tmp_path, "127.0.0.1").make()
    before = content(tmp_path)
    OwnCertificates(tmp_path, "10.1.2.3").make()
    after = content(tmp_path)
    assert {name for name in after if after[name] == before[name]} == {
        "authority.pem", "authority.key", "ca.crt",
    }  # fmt: skip
    for leaf in CertificateFolder(tmp_path).leaves():
        assert leaf.holder is not None
        assert "10.1.2.3" in leaf.holder.names


def test_one_that_ends_within_a_month_is_renewed(tmp_path: Path) -> None:
    own = OwnCertificates(tmp_path, "127.0.0.1")
    own.make()
    old = next(one for one in CertificateFolder(tmp_path).leaves() if "proxy" in one.path.name)
    assert old.holder is not None
    CertificateFolder(tmp_path).issue(old.holder, timedelta(days=29), force=True)
    before = content(tmp_path)
    own.make()
    after = content(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        old.path.name, old.key_path.name,
    }  # fmt: skip
