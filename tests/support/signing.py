"""Signs images as cosign does with a key, in each of its forms; and what real cosign once wrote."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from octopull.oci.manifests import MediaType
from octopull.oci.signatures import BUNDLE, PAYLOAD, REFERRER
from octopull.security.signatures import Signatures
from support.registry import CONFIG, EMPTY, Registry, descriptor, digest_of, manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "signatures" / "cosign.json"
FORMS = ("tag", "referrer", "bundle")
SIGNS = "https://sigstore.dev/cosign/sign/v1"
NOTHING_FOUND = Signatures()


@dataclass(frozen=True)
class Signature:
    """A manifest of signatures, what it is tagged, and the blobs that it needs."""

    manifest: bytes
    tag: str
    blobs: tuple[bytes, ...]

    async def push(self, who: Registry, repository: str) -> None:
        """As cosign brings it to the repository of its image."""
        for blob in self.blobs:
            await who.push_blob(blob, repository)
        reference = self.tag or digest_of(self.manifest)
        answer = await who.push_manifest(repository, reference, self.manifest)
        assert answer.status == 201, answer


def golden() -> list[dict[str, Any]]:
    """What cosign wrote, each with its key, the image's manifest and blobs."""
    return list(json.loads(GOLDEN.read_text())["cases"])


def of_golden(case: dict[str, Any]) -> Signature:
    """The signature of a case."""
    blobs = tuple(one.encode() for one in case["signature_blobs"])
    return Signature(case["signature"].encode(), case["tag"], blobs)


def payload(image: str, **critical: Any) -> bytes:
    """What is signed of an image's digest; ``critical`` are fields instead of the usual ones."""
    said = {
        "identity": {"docker-reference": "registry.example/app"},
        "image": {"docker-manifest-digest": image},
        "type": "cosign container image signature",
        **critical,
    }
    return json.dumps({"critical": said, "optional": None}).encode()


def tag_for(image: str) -> str:
    """Where cosign puts signatures of a digest."""
    return f"{image.replace(':', '-')}.sig"


def simple(image: str, *signed: tuple[bytes, bytes]) -> Signature:
    """Payloads and signatures over them, under the tag for ``image``."""
    layers = [
        descriptor(said, PAYLOAD, annotations={"dev.cosignproject.cosign/signature": _text(proof)})
        for said, proof in signed
    ]
    content = manifest(b"{}", layers=layers)
    return Signature(content, tag_for(image), (b"{}", *(said for said, _ in signed)))


@dataclass(frozen=True)
class Signer:
    """A private key."""

    private: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> bytes:
        """The other half, in PEM."""
        return bytes(
            self.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def prove(self, message: bytes) -> bytes:
        """A signature, of keys on a curve."""
        return bytes(self.private.sign(message, ec.ECDSA(hashes.SHA256())))

    def sign(self, image: bytes, form: str = "tag") -> Signature:
        """The manifest ``image``, in one of ``FORMS``."""
        digest = digest_of(image)
        if form == "bundle":
            return self.bundle(image)
        said = payload(digest)
        found = simple(digest, (said, self.prove(said)))
        if form == "tag":
            return found
        document = json.loads(found.manifest)
        document["subject"] = descriptor(image, MediaType.OCI_MANIFEST)
        document["config"]["mediaType"] = document["artifactType"] = REFERRER
        return Signature(json.dumps(document).encode(), "", found.blobs)

    def bundle(self, image: bytes, predicate: str = SIGNS, hint: str = "") -> Signature:
        """As cosign does since its version 3."""
        name, _, value = digest_of(image).partition(":")
        said = json.dumps(
            {"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {name: value}}],
             "predicateType": predicate, "predicate": {}}
        ).encode()  # fmt: skip
        kind = b"application/vnd.in-toto+json"
        proof = self.prove(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(said), said))
        envelope = {"payload": _text(said), "payloadType": kind.decode(),
                    "signatures": [{"sig": _text(proof)}]}  # fmt: skip
        material = {"publicKey": {"hint": hint}}
        whole = json.dumps(
            {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
        ).encode()
        content = manifest(
            b"", config=descriptor(b"{}", EMPTY), layers=[descriptor(whole, BUNDLE)],
            subject=descriptor(image, MediaType.OCI_MANIFEST), artifactType=BUNDLE,
        )  # fmt: skip
        return Signature(content, "", (b"{}", whole))


def disguised(*layers: bytes, config: bytes = b"{}") -> bytes:
    """An image whose manifest calls its layers signatures."""
    return manifest(
        b"", config=descriptor(config, CONFIG), layers=[descriptor(one, PAYLOAD) for one in layers]
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
