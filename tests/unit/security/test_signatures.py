"""Which images count as signed: by the right key, over the right bytes, of the right image."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from octopull.config.policy import SignatureSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci import signatures as oci
from octopull.security import signatures, verifying
from octopull.security.signatures import Demands, Signatures
from support import signing
from support.registry import digest_of, manifest
from support.signing import NOTHING_FOUND, Signature, Signer

IMAGE, OTHER = manifest(b"{}", b"a layer"), manifest(b"{}", b"another")
A, B = Signer(), Signer()
WHAT = "prod/app@sha256:1"
UNSIGNED = f"{WHAT} is not signed by any key that prod/** demands"


def demands(*keys: dict[str, bytes]) -> Demands:
    """A line for each of ``keys``."""
    lines = [SignatureSettings(repositories=["prod/**"], keys=list(one)) for one in keys]
    files = {name: content for one in keys for name, content in one.items()}
    mistakes: list[str] = []
    found = signatures.parse(lines, files.__getitem__, mistakes)
    assert mistakes == []
    return found


def found(*signed: Signature) -> Signatures:
    said = Signatures()
    for one in signed:
        blobs = {digest_of(blob): blob for blob in one.blobs}
        parts = oci.parts(one.manifest)
        more = tuple(oci.statement(part, blobs[str(part.digest)]) for part in parts)
        said = said.with_more(Signatures(more))
    return said


def refusal(under: Demands, said: Signatures, image: bytes = IMAGE) -> str | None:
    return under.refusal(Digest.of(image), said, WHAT)


@pytest.mark.parametrize("case", signing.golden(), ids=lambda case: str(case["name"]))
def test_what_cosign_signed_counts_by_its_key_alone(case: dict[str, Any]) -> None:
    image, said = case["image"].encode(), found(signing.of_golden(case))
    ours = {"cosign.pub": case["key"].encode()}
    assert refusal(demands(ours), said, image) is None
    assert refusal(demands({"old.pub": A.public, **ours}), said, image) is None
    assert refusal(demands({"other.pub": A.public}), said, image) is not None
    assert refusal(demands(ours), said, OTHER) is not None


@pytest.mark.parametrize("form", signing.FORMS)
def test_why_an_image_is_refused_is_told(form: str) -> None:
    under = demands({"a.pub": A.public})
    assert refusal(under, found(A.sign(IMAGE, form))) is None
    assert refusal(under, NOTHING_FOUND) == UNSIGNED
    wrong = f"{UNSIGNED}: its signature does not verify"
    assert refusal(under, found(B.sign(IMAGE, form))) == wrong
    other = f"{UNSIGNED}: its signature is of another image"
    assert refusal(under, found(A.sign(OTHER, form))) == other
    assert refusal(under, Signatures(unreadable=1)) == f"{UNSIGNED}: its signature can't be read"
    assert refusal(under, found(B.sign(IMAGE, form), A.sign(IMAGE, form))) is None


def test_a_signature_that_names_our_key_and_is_not_its_is_told_so() -> None:
    under = demands({"keys/a.pub": A.public})
    hint = verifying.parse(A.public, "a.pub").hint
    assert refusal(under, found(B.bundle(IMAGE, hint=hint))) == (
        f"{WHAT} may not be pulled: its signature by a.pub does not verify"
    )
    assert refusal(under, found(A.bundle(IMAGE, hint="of somebody else"))) is None


def test_a_payload_that_was_changed_is_not_signed() -> None:
    said = signing.payload(digest_of(OTHER))
    changed = signing.payload(digest_of(IMAGE))
    signed = signing.simple(digest_of(IMAGE), (changed, A.prove(said)))
    assert "does not verify" in str(refusal(demands({"a.pub": A.public}), found(signed)))


def test_each_line_about_a_repository_must_be_satisfied() -> None:
    both = demands({"a.pub": A.public}, {"b.pub": B.public})
    assert refusal(both, found(A.sign(IMAGE))) is not None
    assert refusal(both, found(B.sign(IMAGE))) is not None
    assert refusal(both, found(A.sign(IMAGE), B.sign(IMAGE, "bundle"))) is None
    assert [bool(both.of(one)) for one in ("prod/app", "prod", "dev/app")] == [True, False, False]
    assert refusal(both.of("dev/app"), NOTHING_FOUND) is None


def _on_p384(algorithm: hashes.HashAlgorithm) -> Callable[[Any, bytes], bytes]:
    return lambda key, message: bytes(key.sign(message, ec.ECDSA(algorithm)))


P384, RSA = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
KINDS: dict[str, tuple[Any, Callable[[Any, bytes], bytes]]] = {
    "P-384, SHA-384": (P384, _on_p384(hashes.SHA384())),
    "P-384, SHA-256": (P384, _on_p384(hashes.SHA256())),
    "RSA": (RSA, lambda key, said: key.sign(said, padding.PKCS1v15(), hashes.SHA256())),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), lambda key, said: key.sign(said)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_each_kind_prove_what_they_signed_and_nothing_else(kind: str) -> None:
    private, sign = KINDS[kind]
    key = verifying.parse(Signer(private).public, "key")
    proof = sign(private, b"a message")
    assert key.proves(proof, b"a message")
    assert not key.proves(proof, b"a massage")
    for wrong in (proof[:-1], proof + b"\0", b"", bytes(len(proof)), A.prove(b"a message")):
        assert not key.proves(wrong, b"a message")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        Signer(ec.generate_private_key(ec.SECP521R1())).public,
        Signer(rsa.generate_private_key(65537, 1024)).public,
        A.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()),
    ],
)  # fmt: skip
def test_a_file_that_is_no_key_for_signatures_is_refused(content: bytes) -> None:
    with pytest.raises(Misuse):
        verifying.parse(content, "key")


def test_every_mistake_is_told_at_once_and_where_it_is() -> None:
    lines = [
        SignatureSettings(repositories=["a", ""], keys=["good.pub", "bad.pub"]),
        SignatureSettings(repositories=["b"], keys=["none.pub"]),
    ]

    def read(name: str) -> bytes:
        if name == "none.pub":
            raise Misuse("No such file or directory")
        return A.public if name == "good.pub" else b""

    mistakes: list[str] = []
    signatures.parse(lines, read, mistakes)
    assert [one.partition(": ")[0] for one in mistakes] == ["signatures 1"] * 2 + ["signatures 2"]
    assert mistakes[2] == "signatures 2: none.pub: No such file or directory"


@pytest.mark.parametrize("given", [([], ["k"]), (["a"], []), (["a"], ["k"] * 17)])
def test_a_line_without_repositories_or_keys_or_with_too_many_is_refused(
    given: tuple[list[str], list[str]],
) -> None:
    with pytest.raises(Misuse):
        SignatureSettings(repositories=given[0], keys=given[1])
