"""Registries that tell of pushes: docker distribution's notifications and Harbor's webhooks.

Sources: CNCF Distribution, "Work with notifications" (an envelope of events); Harbor,
"Configure Webhook Notifications" (``PUSH_ARTIFACT``, the format named Default).
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci.manifests import MediaType

EVENTS_MAX = 1000
"""Events of one envelope; distribution sends one by default."""

HARBOR_PUSH = "PUSH_ARTIFACT"
_MANIFESTS = {kind.value for kind in MediaType}


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that was pushed to some registry; ``host`` is how that is called, if it said so.

    Either the ``digest`` or the ``tag`` is there, or both; only the digest never moves.
    """

    host: str
    repository: str
    digest: Digest | None
    tag: str


class _Target(msgspec.Struct, frozen=True):
    repository: str
    mediaType: str = ""  # noqa: N815 - the field's own name
    digest: str = ""
    tag: str = ""


class _Request(msgspec.Struct, frozen=True):
    host: str = ""


class _Event(msgspec.Struct, frozen=True):
    action: str
    target: msgspec.Raw = msgspec.Raw()
    request: _Request = _Request()


class _Envelope(msgspec.Struct, frozen=True):
    events: list[_Event]


class _Resource(msgspec.Struct, frozen=True):
    digest: str = ""
    tag: str = ""
    resource_url: str = ""


class _Repository(msgspec.Struct, frozen=True):
    repo_full_name: str


class _EventData(msgspec.Struct, frozen=True):
    resources: list[_Resource]
    repository: _Repository


class _Webhook(msgspec.Struct, frozen=True):
    type: str
    event_data: msgspec.Raw = msgspec.Raw()


def read(body: bytes) -> list[Pushed]:
    """The images that a notification says were pushed, each once; other news is passed over.

    Raises:
        Misuse: neither an envelope nor a webhook, or too many events; InvalidName,
            InvalidDigest: a push of what can't be.

    """
    head = _decode(body, dict[str, msgspec.Raw])
    if "events" in head:
        found = _of_envelope(_decode(body, _Envelope))
    elif "type" in head:
        found = _of_webhook(_decode(body, _Webhook))
    else:
        raise Misuse("neither a notification of a registry nor a webhook of Harbor")
    return list(dict.fromkeys(found))


def _of_envelope(envelope: _Envelope) -> list[Pushed]:
    _check_count(len(envelope.events))
    found = []
    for event in envelope.events:
        if event.action != "push":
            continue
        target = _decode(bytes(event.target), _Target)
        # Layers are told of, too; their manifest follows.
        if target.mediaType in _MANIFESTS or (target.tag and not target.mediaType):
            pushed = _pushed(event.request.host, target.repository, target.digest, target.tag)
            found.append(pushed)
    return found


def _of_webhook(webhook: _Webhook) -> list[Pushed]:
    if webhook.type != HARBOR_PUSH:
        return []
    data = _decode(bytes(webhook.event_data), _EventData)
    _check_count(len(data.resources))
    repository = data.repository.repo_full_name
    return [
        _pushed(one.resource_url.partition("/")[0], repository, one.digest, one.tag)
        for one in data.resources
    ]


def _pushed(host: str, repository: str, digest: str, tag: str) -> Pushed:
    parsed = Digest.parse(digest) if digest else None
    if parsed is None or tag:
        names.tag(tag)
    return Pushed(host[:255], names.repository(repository), parsed, tag)


def _check_count(count: int) -> None:
    if count > EVENTS_MAX:
        raise Misuse("too many events in one notification", most=EVENTS_MAX)


def _decode(body: bytes, shape: Any) -> Any:
    return documents.read(msgspec.json.Decoder(shape).decode, body, "a notification")
