"""The verbs that make certificates, and the files they leave."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from octopull.cli.certificate_folder import CertificateFolder
from octopull.cli.certs import certs
from octopull.kernel.errors import Fault, Misuse, NotFound
from octopull.security import authority
from octopull.security.authority import Holder
from octopull.security.roles import Role

DAY = timedelta(days=1)
ORIGIN = Holder(Role.ORIGIN, ("origin-1.example", "10.0.0.5", "::1"))


def run(folder: Path, *words: str) -> Result:
    verb, *rest = words
    return CliRunner().invoke(certs, [verb, "--folder", str(folder), *rest])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an authority, an origin's certificate and an operator's."""
    made = tmp_path / "certs"
    assert run(made, "init").exit_code == 0
    assert run(made, "issue", "origin", *ORIGIN.names).exit_code == 0
    assert run(made, "issue", "operator", "alice", "--for", "20d").exit_code == 0
    return made


def ends(folder: Path) -> dict[str, int]:
    """Days that each certificate lasts, by its file."""
    now = authority.now()
    return {
        leaf.path.name: round((leaf.certificate.not_valid_after_utc - now) / DAY)
        for leaf in CertificateFolder(folder).leaves()
    }


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    assert len(modes) == 6


def test_a_certificate_says_for_whom_it_is(folder: Path) -> None:
    assert {leaf.holder for leaf in CertificateFolder(folder).leaves()} == {
        ORIGIN, Holder(Role.OPERATOR, ("alice",)),
    }  # fmt: skip
    assert ends(folder) == {"origin-origin-1.example.pem": 90, "operator-alice.pem": 20}


@pytest.mark.parametrize("again", [("init",), ("issue", "operator", "alice")])
def test_nothing_is_replaced_unless_by_force(folder: Path, again: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused = run(folder, *again).exception
    assert isinstance(refused, Misuse)
    assert "--force replaces it" in str(refused)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert run(folder, *again, "--force").exit_code == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} != before


def test_rotation_renews_what_ends_soon_and_keeps_its_names(folder: Path) -> None:
    untouched = (folder / "origin-origin-1.example.pem").read_bytes()
    before = (folder / "operator-alice.key").read_bytes()
    told = run(folder, "rotate").output
    assert "renewed" in told
    assert told.count("\n") == 1
    assert ends(folder) == {"origin-origin-1.example.pem": 90, "operator-alice.pem": 90}
    assert (folder / "origin-origin-1.example.pem").read_bytes() == untouched
    assert (folder / "operator-alice.key").read_bytes() != before


def test_a_renewal_that_was_killed_between_its_files_is_made_good(folder: Path) -> None:
    made = authority.new_authority(authority.now(), DAY)
    (folder / "origin-origin-1.example.key").write_bytes(made.key_pem())
    shown = run(folder, "show")
    assert shown.exit_code == 1
    assert "is not its key" in shown.output
    assert run(folder, "rotate", "--within", "0s").exit_code == 0
    assert run(folder, "show").exit_code == 0


def test_an_authority_is_changed_in_three_steps(folder: Path) -> None:
    (first,) = CertificateFolder(folder).authorities()
    assert run(folder, "rotate", "--authority").exit_code == 0
    second, *others = CertificateFolder(folder).authorities()
    assert others == [first]
    assert run(folder, "show").exit_code == 0
    refused = run(folder, "rotate", "--drop-old").exception
    assert isinstance(refused, Misuse)
    assert "an old authority's" in str(refused)
    assert run(folder, "rotate", "--all").output.count("renewed") == 2
    assert run(folder, "rotate", "--drop-old").exit_code == 0
    assert CertificateFolder(folder).authorities() == [second]
    assert run(folder, "show").exit_code == 0


def test_a_new_authority_whose_key_was_not_kept_does_not_sign(folder: Path) -> None:
    opened = CertificateFolder(folder)
    lost = authority.new_authority(authority.now(), DAY).certificate
    bundle = authority.pem([lost, *opened.authorities()])
    (folder / "authority.pem").write_bytes(bundle)
    path = opened.issue(Holder(Role.AGENT, ("host-7",)), DAY)
    (made,) = authority.read_certificates(path.read_bytes(), "")
    assert authority.signer_of(made, [lost]) is None
    assert authority.signer_of(made, opened.authorities()) == opened.authorities()[1]


def test_what_has_expired_fails_the_look_at_it(folder: Path) -> None:
    assert run(folder, "show").exit_code == 0
    soon = run(folder, "show", "--within", "30d")
    assert (soon.exit_code, "expires in" in soon.output) == (1, True)
    # Issued by an authority of an hour ago, for less than an hour.
    past = authority.now() - timedelta(hours=1)
    old = authority.new_authority(past, DAY)
    made = authority.issue(old, ORIGIN, past, timedelta(minutes=30))
    with (folder / "authority.pem").open("ab") as bundle:
        bundle.write(old.certificate_pem())
    (folder / "agent-old.pem").write_bytes(made.certificate_pem())
    (folder / "agent-old.key").write_bytes(made.key_pem())
    shown = run(folder, "show")
    assert shown.exit_code == 1
    assert "expired 30 minutes ago" in shown.output


def test_a_certificate_ends_no_later_than_its_authority() -> None:
    now = authority.now()
    short = authority.new_authority(now, DAY)
    made = authority.issue(short, ORIGIN, now, 10 * DAY).certificate
    assert made.not_valid_after_utc == short.certificate.not_valid_after_utc
    with pytest.raises(Misuse, match="the authority has expired"):
        authority.issue(short, ORIGIN, now + 2 * DAY, DAY)


def test_a_stranger_among_the_files_is_told_and_left_alone(folder: Path) -> None:
    strange = authority.new_authority(authority.now(), DAY)
    (folder / "ours.pem").write_bytes(strange.certificate_pem())
    (folder / "ours.key").write_bytes(strange.key_pem())
    shown = run(folder, "show")
    assert shown.exit_code == 1
    assert "not of an authority" in shown.output
    run(folder, "rotate", "--all")
    assert (folder / "ours.pem").read_bytes() == strange.certificate_pem()


@pytest.mark.parametrize("words", [("show",), ("rotate",), ("issue", "agent", "a")])
def test_without_an_authority_one_is_told_to_make_one(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = run(tmp_path, *words).exception
    assert isinstance(refused, NotFound)
    assert "octopull certs init" in str(refused)


@pytest.mark.parametrize("content", [b"", b"no certificate", os.urandom(3000)])
def test_files_that_hold_something_else_are_told(folder: Path, content: bytes) -> None:
    (folder / "operator-alice.pem").write_bytes(content)
    refused = run(folder, "show").exception
    assert isinstance(refused, Fault)
    assert "operator-alice.pem" in str(refused)
