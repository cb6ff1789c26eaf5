"""Signatures of images as cosign writes them: what signs, what is signed, and by which bytes.

Nothing is proven here: a ``Statement`` says what somebody's key must have signed to count. There
are three forms, all of them manifests in the image's repository:

* by tag: ``sha256-<hex>.sig``; each layer is a payload, its annotation the signature;
* by referrer: the same layers, of a manifest whose subject is the image;
* as a bundle: a referrer whose layers are DSSE envelopes around an in-toto statement.

The last is what cosign writes since its version 3.
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec

from octopull.kernel import documents
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest, Misuse
from octopull.oci.manifests import MediaType, parse

PAYLOAD_BYTES_MAX = 64 * 1024
"""A payload of cosign's has some 250 bytes, a bundle some 700; certificates make it 10,000."""

LAYERS_MAX = 32
"""Signatures looked at of one manifest: the newest, which cosign appends."""

MANIFEST_BYTES_MAX = 1 << 20
"""Of a manifest of signatures: its annotations may hold certificates."""

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
"""Of attestations: they sign no image, but are no image either."""

REFERRER = "application/vnd.dev.cosign.artifact.sig.v1+json"
ARTIFACT_TYPES = (BUNDLE, REFERRER)
"""Of referrers that may be signatures."""

_EMPTY = "application/vnd.oci.empty.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYERS, _CONFIGS = {PAYLOAD, BUNDLE, ENVELOPE}, {_CONFIG, _EMPTY, REFERRER}
_SIGNATURE = "dev.cosignproject.cosign/signature"
_SIGNS = "cosign container image signature"
_STATEMENTS = {"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}
_IN_TOTO = "application/vnd.in-toto+json"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""Other predicates attest to something: that tests failed, for instance."""


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None


class _Document(msgspec.Struct, frozen=True):
    config: _Layer
    layers: list[_Layer]


class _Image(msgspec.Struct, frozen=True, rename="kebab"):
    docker_manifest_digest: str


class _Critical(msgspec.Struct, frozen=True):
    image: _Image
    type: str


class _Payload(msgspec.Struct, frozen=True):
    critical: _Critical


class _PublicKey(msgspec.Struct, frozen=True):
    hint: str = ""


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: _PublicKey | None = None


class _EnvelopeSignature(msgspec.Struct, frozen=True):
    sig: str


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_EnvelopeSignature]


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    dsse_envelope: _Envelope
    verification_material: _Material | None = None


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str


@dataclass(frozen=True, slots=True)
class Part:
    """One layer of a manifest of signatures, still to be fetched; ``size`` in bytes."""

    media_type: str
    digest: Digest
    size: int
    signature: str
    """In base64, of a payload; a bundle brings its own."""


@dataclass(frozen=True, slots=True)
class Statement:
    """That ``images`` are signed, if one of ``signatures`` is some key's over ``message``."""

    images: frozenset[Digest]
    message: bytes
    signatures: tuple[bytes, ...]
    hint: str
    """What its signer says which key it is: the SHA-256 of the key, in base64; often empty."""


def tag_of(digest: Digest) -> str | None:
    """The tag under which signatures of ``digest`` are; None if it is too long for a tag."""
    return f"sha256-{digest.hex}.sig" if digest.algorithm == "sha256" else None


def is_artifact(content: bytes) -> bool:
    """Whether a manifest is one of signatures or attestations, and of nothing else.

    By what it says of its parts alone: whoever serves them looks at each (``is_document``).
    """
    try:
        return bool(_layers(content, _LAYERS))
    except Misuse:
        return False


def is_document(content: bytes) -> bool:
    """Whether a part of such a manifest is what parts are: a small JSON object, no file system."""
    if len(content) > PAYLOAD_BYTES_MAX:
        return False
    try:
        return isinstance(msgspec.json.decode(content), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def parts(content: bytes) -> list[Part]:
    """The signatures of a manifest, the newest last; at most ``LAYERS_MAX``.

    Raises:
        Misuse: it is no manifest of signatures.

    """
    found = []
    for layer in _layers(content, {PAYLOAD, BUNDLE})[-LAYERS_MAX:]:
        signature = (layer.annotations or {}).get(_SIGNATURE, "")
        found.append(Part(layer.media_type, _digest(layer.digest), layer.size, signature))
    return found


def statement(part: Part, content: bytes) -> Statement:
    """What the bytes of ``part`` say.

    Raises:
        Misuse: nothing that would sign an image.

    """
    if len(content) > PAYLOAD_BYTES_MAX:
        raise Misuse("a signature is not so long", bytes_max=PAYLOAD_BYTES_MAX)
    return _of_bundle(content) if part.media_type == BUNDLE else _of_payload(part, content)


def _layers(content: bytes, media_types: set[str]) -> list[_Layer]:
    if len(content) > MANIFEST_BYTES_MAX:
        raise Misuse("a manifest of signatures is not so long", bytes_max=MANIFEST_BYTES_MAX)
    if parse(content, None).media_type is not MediaType.OCI_MANIFEST:
        raise Misuse("not a manifest of signatures")
    found = documents.read(_DOCUMENT.decode, content, "a manifest of signatures")
    if found.config.media_type not in _CONFIGS or found.config.size > PAYLOAD_BYTES_MAX:
        raise Misuse("an image, and no signatures")
    for layer in found.layers:
        if layer.media_type not in media_types or layer.size > PAYLOAD_BYTES_MAX:
            raise Misuse("not of signatures alone")
    return found.layers


def _of_payload(part: Part, content: bytes) -> Statement:
    critical = documents.read(_PAYLOAD.decode, content, "a signature's payload").critical
    if critical.type != _SIGNS:
        raise Misuse("a payload that signs no image")
    image = _digest(critical.image.docker_manifest_digest)
    return Statement(frozenset({image}), content, (_bytes(part.signature),), "")


def _of_bundle(content: bytes) -> Statement:
    bundle = documents.read(_BUNDLE.decode, content, "a bundle")
    envelope, material = bundle.dsse_envelope, bundle.verification_material
    payload = _bytes(envelope.payload)
    if bundle.media_type != BUNDLE or envelope.payload_type != _IN_TOTO:
        raise Misuse("a bundle that signs no image")
    said = documents.read(_STATEMENT.decode, payload, "a bundle's statement")
    if said.type not in _STATEMENTS or said.predicate_type != _PREDICATE:
        raise Misuse("a bundle that attests to something, and signs no image")
    images = frozenset(
        _digest(f"{algorithm}:{value}")
        for one in said.subject[:LAYERS_MAX]
        for algorithm, value in one.digest.items()
        if algorithm in {"sha256", "sha512"}
    )
    signatures = tuple(_bytes(one.sig) for one in envelope.signatures[:LAYERS_MAX])
    hint = material.public_key.hint if material and material.public_key else ""
    return Statement(images, _pre_authenticated(_IN_TOTO.encode(), payload), signatures, hint)


def _pre_authenticated(kind: bytes, payload: bytes) -> bytes:
    """What a DSSE envelope signs (secure-systems-lab/dsse, "Signature Definition")."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigest as fault:
        raise Misuse("a signature names a digest that is none") from fault


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misuse("a signature is not in base64") from error


_DOCUMENT, _PAYLOAD = msgspec.json.Decoder(_Document), msgspec.json.Decoder(_Payload)
_BUNDLE, _STATEMENT = msgspec.json.Decoder(_Bundle), msgspec.json.Decoder(_Statement)
