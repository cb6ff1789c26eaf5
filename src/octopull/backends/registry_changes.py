"""What is changed at another registry: manifests are put, blobs and manifests are deleted.

Distribution-spec 1.1, "Pushing Manifests" and "Content Management".
"""

from collections.abc import Mapping

from octopull.backends.authorization import Purpose
from octopull.backends.contract import Content
from octopull.backends.registry import RemoteRegistry
from octopull.backends.registry_push import NO_HEADERS, NO_HINTS, BlobPush, Hints
from octopull.backends.requests import Ask
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Fault,
    MissingReference,
    NotFound,
    Unsupported,
    UpstreamFailed,
)  # fmt: skip

_MISSING = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})
_UNDELETABLE = frozenset({"UNSUPPORTED", "DIGEST_INVALID"})
"""The second is docker-registry's word on a tag."""

_UNFIT = frozenset({413, 415, 422})
"""Statuses that blame what was sent, not the registry."""


async def push_blob(
    registry: RemoteRegistry, repository: str, digest: Digest, content: Content,
    hints: Hints = NO_HINTS, headers: Mapping[str, str] = NO_HEADERS,
) -> None:  # fmt: skip
    """Returns once the registry has the blob; ``headers`` go with each request.

    Raises:
        Unsupported: it won't have this blob. UpstreamFailed: it failed.
        Fault: the content can't be read.

    """
    push = BlobPush(registry, repository, digest, content, hints, headers)
    try:
        with registry.blamed():
            async with registry.blob_turns:
                await push.run()
    except (NotFound, UpstreamFailed) as fault:
        if push.unread is None:
            raise _judged(fault, _UNFIT) from fault
    if push.unread is not None:
        raise push.unread


async def put_manifest(
    registry: RemoteRegistry, repository: str, reference: Digest | str, content: bytes,
    media_type: str, headers: Mapping[str, str] = NO_HEADERS,
) -> Mapping[str, str]:  # fmt: skip
    """Let ``reference`` stand for a manifest; sends ``headers``, and returns those of the answer.

    Raises:
        MissingReference: it refers to what the registry has not got in this repository.
        Unsupported: it won't have this manifest. UpstreamFailed: it failed.

    """
    ask = Ask(
        method="PUT", repository=repository,
        url=registry.requests.url(repository, f"manifests/{reference}"),
        headers={**headers, "Content-Type": media_type}, purpose=Purpose.PUSH, body=content,
    )  # fmt: skip
    try:
        return await _answered(registry, ask)
    except (NotFound, UpstreamFailed) as fault:
        told = fault.details.get("told")
        if told in _MISSING or (isinstance(fault, NotFound) and told != "NAME_UNKNOWN"):
            raise MissingReference(
                f"{registry.place.name} lacks what the manifest refers to", reference=str(reference)
            ) from fault
        raise _judged(fault, _UNFIT | {400}) from fault


async def delete(
    registry: RemoteRegistry, repository: str, path: str, headers: Mapping[str, str] = NO_HEADERS
) -> Mapping[str, str]:
    """Delete ``blobs/<digest>`` or ``manifests/<reference>``; one that is not there is no fault.

    Sends ``headers``, and returns those of the answer.

    Raises:
        Unsupported: the registry does not delete that. UpstreamFailed: it failed.

    """
    ask = Ask(
        method="DELETE", repository=repository, url=registry.requests.url(repository, path),
        headers=headers, purpose=Purpose.DELETE,
    )  # fmt: skip
    try:
        return await _answered(registry, ask)
    except NotFound:
        return NO_HEADERS
    except UpstreamFailed as fault:
        # A registry may answer 400 to much that another attempt would mend.
        undeletable = {400, 405} if fault.details.get("told") in _UNDELETABLE else {405}
        raise _judged(fault, frozenset(undeletable)) from fault


def _judged(fault: NotFound | UpstreamFailed, unfit: frozenset[int]) -> Fault:
    """What an answer to a change means: who is to blame."""
    if fault.details.get("status") in unfit:
        return Unsupported(str(fault), **fault.details)
    return UpstreamFailed(str(fault), **fault.details)


async def _answered(registry: RemoteRegistry, ask: Ask) -> Mapping[str, str]:
    """The headers of the answer."""
    async with (
        registry.deadline(),
        registry.manifest_turns,
        registry.requests.settled(ask) as response,
    ):
        return response.headers.copy()
