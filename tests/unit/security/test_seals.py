"""Whose seal is believed: an origin's, of this cluster's authority, while its certificate lasts."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from octopull.blob.layout import Layout
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.seal import Seal
from octopull.blob.start import Sealed
from octopull.config.tls import ClusterTls, Seals
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Misuse
from octopull.security import authority, mutual, seals
from octopull.security.roles import Role
from octopull.security.seals import Prover, Sealer
from support.authorities import DAY, Authority, new

LAYOUT = Layout(600_000, 262_144)
METAINFO = Metainfo(Digest.of(b"a blob"), LAYOUT, tuple(bytes([n] * 32) for n in range(3)))
GROWING = Growing(METAINFO.outline, 1, METAINFO.piece_hashes[1:2])
NOW = authority.now()


def now_s() -> float:
    """By this host's clock: tests may begin long after this file was read."""
    return authority.now().timestamp()


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return new(tmp_path / "ours")


def der(*certificates: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(serialization.Encoding.DER) for one in certificates)


def prover(*authorities: Authority) -> Prover:
    return Prover(der(*(one.made.certificate for one in authorities)))


@pytest.mark.parametrize("described", [METAINFO, GROWING])
def test_what_an_origin_sealed_is_proven(ours: Authority, described: Metainfo | Growing) -> None:
    sealed = seals.load_sealer(ours.files(Role.ORIGIN)).seal(described)
    assert sealed.described is described
    signer = prover(ours).prove(sealed, now_s())
    assert signer.name == "octopull://origin/localhost"
    assert now_s() < signer.ends_at <= now_s() + DAY.total_seconds() + 5


def test_the_same_metainfo_is_signed_once(ours: Authority) -> None:
    sealer = seals.load_sealer(ours.files(Role.ORIGIN))
    assert sealer.seal(METAINFO) == sealer.seal(
        Metainfo(METAINFO.digest, LAYOUT, METAINFO.piece_hashes)
    )


def test_a_seal_is_good_for_what_was_sealed_alone(ours: Authority) -> None:
    sealed = seals.load_sealer(ours.files(Role.ORIGIN)).seal(METAINFO)
    for other in (
        Metainfo(METAINFO.digest, LAYOUT, METAINFO.piece_hashes[::-1]),
        Growing(METAINFO.outline, 0, METAINFO.piece_hashes),
    ):
        with pytest.raises(Corrupt, match="did not seal it"):
            prover(ours).prove(Sealed(other, sealed.seal), now_s())


def test_a_changed_byte_of_a_seal_makes_it_nobody_elses(ours: Authority) -> None:
    sealed = seals.load_sealer(ours.files(Role.ORIGIN)).seal(METAINFO)
    one = prover(ours)
    right, refused = one.prove(sealed, now_s()), 0
    for at in range(len(sealed.seal)):
        changed = bytearray(sealed.seal)
        changed[at] ^= 1
        try:
            # DER leaves a bit or two open, about which a certificate's signature says nothing.
            assert one.prove(Sealed(METAINFO, bytes(changed)), now_s()) == right
        except Corrupt:
            refused += 1
    assert refused >= len(sealed.seal) - 2


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ORIGIN])
def test_a_certificate_of_another_role_seals_nothing(ours: Authority, role: Role) -> None:
    sealed = seals.load_sealer(ours.files(role)).seal(METAINFO)
    with pytest.raises(Corrupt, match=f"is for {role}, not for origin"):
        prover(ours).prove(sealed, now_s())


def test_an_origin_of_another_authority_is_not_believed(ours: Authority, tmp_path: Path) -> None:
    theirs = new(tmp_path / "theirs")
    sealed = seals.load_sealer(theirs.files(Role.ORIGIN)).seal(METAINFO)
    with pytest.raises(Corrupt, match="of another authority"):
        prover(ours).prove(sealed, now_s())
    assert prover(ours, theirs).prove(sealed, now_s())


def test_a_seal_counts_as_long_as_its_certificate(ours: Authority) -> None:
    sealed = seals.load_sealer(ours.files(Role.ORIGIN)).seal(METAINFO)
    one = prover(ours)
    ends_at = one.prove(sealed, now_s()).ends_at
    assert one.prove(sealed, ends_at - 1)
    with pytest.raises(Corrupt, match="has expired"):
        one.prove(sealed, ends_at)
    with pytest.raises(Corrupt, match="does not count yet"):
        one.prove(sealed, now_s() - DAY.total_seconds())


# Keys and chains of other authorities than ours.


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Maker:
    """Whatever certificates: of any keys, under each other, with what is wanted in them."""

    def __init__(
        self, name: str, by: "Maker | None" = None, path_length: int | None = None
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named(name)
        self._by = by or self
        self.certificate = self._by.issue(
            self.name, self.key.public_key(),
            [(x509.BasicConstraints(ca=True, path_length=path_length), True)],
        )  # fmt: skip

    def issue(
        self, name: x509.Name, key: "seals._Public",
        extensions: Sequence[tuple[x509.ExtensionType, bool]], ends: timedelta = DAY,
    ) -> x509.Certificate:  # fmt: skip
        builder = (
            x509.CertificateBuilder().issuer_name(self.name).subject_name(name).public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 3 * DAY).not_valid_after(NOW + ends)
        )  # fmt: skip
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())

    def origin(
        self, key: "seals._Public", *more: tuple[x509.ExtensionType, bool], ends: timedelta = DAY
    ) -> x509.Certificate:
        uri = x509.UniformResourceIdentifier("octopull://origin/o")
        names = x509.SubjectAlternativeName([uri])
        return self.issue(named("o"), key, [(names, False), *more], ends)


KEYS: dict[str, Callable[[], "seals._Private"]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_usual_kind_seal(kind: str) -> None:
    key, root = KEYS[kind](), Maker("root")
    sealer = Sealer(key, der(root.origin(key.public_key())))
    sealed, one = sealer.seal(METAINFO), Prover(der(root.certificate))
    assert one.prove(sealed, now_s())
    with pytest.raises(Corrupt, match="did not seal it"):
        one.prove(Sealed(GROWING, sealed.seal), now_s())


def proven(root: Maker, *chain: x509.Certificate, key: "seals._Private") -> str:
    """Whose seal by ``key`` it is, to those who trust ``root``; or why it is nobody's."""
    sealed = Sealer(key, der(*chain)).seal(METAINFO)
    try:
        return Prover(der(root.certificate)).prove(sealed, now_s()).name
    except Corrupt as fault:
        return str(fault)


ORIGIN = "octopull://origin/o"
CA = x509.BasicConstraints(ca=True, path_length=None)


def test_certificates_between_signer_and_authority_count() -> None:
    root = Maker("root", path_length=1)
    between, key = Maker("between", root), KEYS["P-256"]()
    leaf = between.origin(key.public_key())
    assert proven(root, leaf, between.certificate, key=key) == ORIGIN
    assert "another authority" in proven(root, leaf, key=key)
    deep = Maker("deep", between)
    assert "more certificates" in proven(
        root, deep.origin(key.public_key()), deep.certificate, between.certificate, key=key
    )


def test_who_is_no_authority_makes_no_origins() -> None:
    root, key = Maker("root"), KEYS["P-256"]()
    agent = Maker("agent")
    agent.certificate = root.issue(agent.name, agent.key.public_key(), [])
    leaf = agent.origin(key.public_key())
    assert "may not sign certificates" in proven(root, leaf, agent.certificate, key=key)


def test_an_authority_that_has_ended_proves_nothing() -> None:
    root, key = Maker("root"), KEYS["P-256"]()
    between = Maker("between", root)
    between.certificate = root.issue(
        between.name, between.key.public_key(), [(CA, True)], ends=-DAY
    )
    leaf = between.origin(key.public_key())
    assert "expired" in proven(root, leaf, between.certificate, key=key)


def test_what_is_not_understood_or_may_not_sign_is_refused() -> None:
    root, key = Maker("root"), KEYS["P-256"]()
    names = x509.NameConstraints([x509.DNSName("example")], None)
    agreeing = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=True, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    public = key.public_key()
    assert "not understood" in proven(root, root.origin(public, (names, True)), key=key)
    assert "may not sign" in proven(root, root.origin(public, (agreeing, True)), key=key)


def test_bytes_that_are_no_certificate_are_refused() -> None:
    root = Maker("root")
    for chain in ((b"",), (b"\x30\x03abc",), (root.certificate.tbs_certificate_bytes,)):
        seal = Seal(b"signature", chain).encode()
        with pytest.raises(Corrupt, match="makes no sense"):
            Prover(der(root.certificate)).prove(Sealed(METAINFO, seal), now_s())


# What services make of their files.


def test_each_service_gets_what_it_needs_of_seals(ours: Authority) -> None:
    made = {role: mutual.load(ours.files(role), role) for role in Role}
    assert {role for role, one in made.items() if one.sealer} == {Role.ORIGIN}
    assert {role for role, one in made.items() if one.prover} == {
        Role.ORIGIN, Role.TRACKER, Role.AGENT,
    }  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_where_seals_are_ignored_there_are_none(ours: Authority, role: Role) -> None:
    made = mutual.load(ignoring(ours.files(role)), role)
    assert (made.sealer, made.prover) == (None, None)


def ignoring(files: ClusterTls) -> ClusterTls:
    return ClusterTls(
        authority=files.authority, certificate=files.certificate, key=files.key,
        seals=Seals.IGNORED,
    )  # fmt: skip


def test_a_key_that_seals_nothing_is_told_at_the_start(tmp_path: Path) -> None:
    root, key = Maker("root"), ed448.Ed448PrivateKey.generate()
    public = cast("seals._Public", key.public_key())
    paths = [tmp_path / name for name in ("root.pem", "own.pem", "own.key")]
    own = root.origin(public)
    paths[0].write_bytes(authority.pem([root.certificate]))
    paths[1].write_bytes(authority.pem([own]))
    paths[2].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    files = ClusterTls(authority=str(paths[0]), certificate=str(paths[1]), key=str(paths[2]))
    with pytest.raises(Misuse, match="sealed by keys of"):
        mutual.load(files, Role.ORIGIN)
    assert mutual.load(ignoring(files), Role.ORIGIN).sealer is None


def test_an_own_chain_that_nobody_would_believe_is_told_at_the_start(
    ours: Authority, tmp_path: Path
) -> None:
    files = ours.files(Role.ORIGIN)
    sealer = seals.load_sealer(files)
    seals.check_own(sealer, prover(ours), files.certificate)
    with pytest.raises(Misuse, match=r"another authority.*tls\.seals: ignored"):
        seals.check_own(sealer, prover(new(tmp_path / "theirs")), files.certificate)
