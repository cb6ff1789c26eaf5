"""Manifests and what they refer to (OCI image-spec 1.1; docker image manifest V2, schema 2)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    InvalidDigest,
    InvalidManifest,
    MissingReference,
    TooLarge,
    Unsupported,
)

MANIFEST_BYTES_MAX = 4 * 1024 * 1024
"""What a registry must at least accept (distribution-spec 1.1, "Pushing Manifests")."""

REFERENCES_MAX = 10_000
SIZE_MAX = (1 << 63) - 1
"""A descriptor's size is an int64 (image-spec 1.1, "Descriptors")."""


class MediaType(StrEnum):
    """The kinds of manifest there are."""

    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    OCI_INDEX = "application/vnd.oci.image.index.v1+json"
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


INDEXES = frozenset({MediaType.OCI_INDEX, MediaType.DOCKER_LIST})
_FOREIGN = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One thing a manifest refers to; what is not ``required`` may live elsewhere."""

    media_type: str
    digest: Digest
    size: int
    required: bool

    @property
    def is_manifest(self) -> bool:
        """Whether it refers to things in turn."""
        return self.media_type in set(MediaType)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's kind, what it refers to, and what it says of itself.

    ``subject`` is the manifest it is about; ``artifact_type`` what a list of referrers shows:
    its own, or else the media type of its config (distribution-spec 1.1, "Listing Referrers").
    """

    media_type: MediaType
    references: tuple[Descriptor, ...]
    subject: Digest | None
    artifact_type: str | None
    annotations: dict[str, str]


def missing(digest: Digest) -> MissingReference:
    """The fault of a manifest that refers to ``digest`` before it was pushed."""
    return MissingReference(f"refers to {digest}, which was not pushed")


def media_type_of(content: bytes) -> str:
    """The media type of stored manifest bytes, from the bytes alone.

    Raises:
        InvalidManifest, Unsupported: as ``parse``.

    """
    return parse(content, None).media_type.value


def parse(content: bytes, content_type: str | None) -> Manifest:
    """Read a manifest, sent with ``content_type`` if that is known.

    The kind follows from the field ``mediaType``, which OCI lets be absent, and then from
    the fields there are, so that the bytes alone tell it again later.

    Raises:
        TooLarge: beyond ``MANIFEST_BYTES_MAX``.
        InvalidManifest: no manifest, or of another type than ``content_type`` says.
        Unsupported: docker's schema 1.

    """
    if len(content) > MANIFEST_BYTES_MAX:
        raise TooLarge("the manifest is beyond the limit", bytes_max=MANIFEST_BYTES_MAX)
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifest("the manifest is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidManifest("a manifest is a JSON object")
    if document.get("schemaVersion") == 1:
        raise Unsupported("docker's schema 1 is not supported: push schema 2 or OCI")
    if document.get("schemaVersion") != 2:
        raise InvalidManifest("schemaVersion must be 2")
    kind = _kind(document)
    sent = (content_type or "").partition(";")[0].strip()
    if sent and sent != kind:
        raise InvalidManifest(f"sent as {sent[:100]}, but the manifest is {kind}")
    return Manifest(
        kind,
        _references(document, kind),
        _subject(document),
        _artifact_type(document, kind),
        _annotations(document),
    )


def _kind(document: dict[str, Any]) -> MediaType:
    stated = document.get("mediaType")
    if stated is None:
        if isinstance(document.get("manifests"), list):
            return MediaType.OCI_INDEX
        if isinstance(document.get("config"), dict):
            return MediaType.OCI_MANIFEST
        raise InvalidManifest("neither a manifest nor an index")
    try:
        return MediaType(stated)
    except ValueError:
        raise InvalidManifest(f"unknown mediaType {str(stated)[:100]}") from None


def _references(document: dict[str, Any], kind: MediaType) -> tuple[Descriptor, ...]:
    if kind in INDEXES:
        listed = _list(document, "manifests")
    else:
        listed = [document.get("config"), *_list(document, "layers")]
    if len(listed) > REFERENCES_MAX:
        raise InvalidManifest("too many references", most=REFERENCES_MAX)
    return tuple(_descriptor(one) for one in listed)


def _list(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise InvalidManifest(f"{name} must be a list")
    return found


def _descriptor(one: Any) -> Descriptor:
    if not isinstance(one, dict):
        raise InvalidManifest("a descriptor is a JSON object")
    media_type, digest, size = one.get("mediaType"), one.get("digest"), one.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise InvalidManifest("a descriptor has a mediaType and a digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= SIZE_MAX:
        raise InvalidManifest("a descriptor's size counts bytes")
    foreign = bool(one.get("urls")) or media_type.startswith(_FOREIGN)
    try:
        return Descriptor(media_type, Digest.parse(digest), size, required=not foreign)
    except InvalidDigest as error:
        raise InvalidManifest("a descriptor's digest is malformed") from error


def _subject(document: dict[str, Any]) -> Digest | None:
    subject = document.get("subject")
    return None if subject is None else _descriptor(subject).digest


def _artifact_type(document: dict[str, Any], kind: MediaType) -> str | None:
    stated = document.get("artifactType") or None
    if stated is None and kind not in INDEXES:
        stated = document["config"]["mediaType"]
    if stated is not None and not isinstance(stated, str):
        raise InvalidManifest("artifactType must be text")
    return stated


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    found = document.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidManifest("annotations map text to text")
    return found
