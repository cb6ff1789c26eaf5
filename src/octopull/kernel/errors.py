"""Every error this package raises on purpose.

    Fault
    ├── Misuse            our caller broke the contract        fix the call
    │   ├── InvalidDigest     not a digest, or not of these bytes
    │   ├── InvalidName       not a repository, tag, namespace or upload id
    │   ├── InvalidManifest   not a manifest, or beyond all reason
    │   ├── MissingReference  a manifest refers to what was not pushed
    │   ├── InvalidRange      bytes out of order or out of bounds
    │   ├── TooLarge          beyond a stated limit
    │   ├── TooMany           more than one client's share
    │   ├── TooSlow           bytes come more slowly than a stated limit
    │   ├── Unsupported       understood, and not offered
    │   ├── Unauthenticated   nobody we know says so
    │   ├── Denied            the caller is known, and may not
    │   └── Diverged          code decides otherwise than its journal says
    ├── PeerFault         the other side broke the protocol    drop the peer
    ├── Corrupt           bytes do not match their digest      refetch elsewhere
    ├── NotFound          the thing is absent, now             tell the client
    ├── Changed           it is not what the caller saw last   look again, then decide
    └── Unavailable       a dependency is down or full         retry later
        ├── Pending           it is on its way                     wait
        └── UpstreamFailed    storage that is not ours fails       ask no other host of ours

Callers branch on the class, operators search by ``code``, and only HTTP
adapters turn either into a status.
"""

from typing import ClassVar


class Fault(Exception):  # noqa: N818 - named for what happened
    """Base class; never raised itself.

    ``details`` are the nouns of the failure (digest, peer, byte counts). They
    travel apart from the message, so that logs can be searched by field.
    """

    code: ClassVar[str] = "fault"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


class Misuse(Fault):
    """The caller asked for something the contract forbids."""

    code = "misuse"


class InvalidDigest(Misuse):
    """The text is no digest, or the bytes do not have the digest claimed for them."""

    code = "digest_invalid"


class InvalidName(Misuse):
    """The text is no repository, tag, reference, namespace or upload id."""

    code = "name_invalid"


class InvalidManifest(Misuse):
    """The bytes are no manifest of a known media type."""

    code = "manifest_invalid"


class MissingReference(Misuse):
    """A manifest refers to a blob or manifest that was not pushed."""

    code = "manifest_blob_unknown"


class InvalidRange(Misuse):
    """A byte range is malformed, out of order or out of bounds."""

    code = "range_invalid"


class TooLarge(Misuse):
    """The body or document is beyond a stated limit."""

    code = "too_large"


class TooSlow(Misuse):
    """The body comes more slowly than a stated limit."""

    code = "too_slow"


class Unsupported(Misuse):
    """The request was understood and is not offered."""

    code = "unsupported"


class TooMany(Misuse):
    """One client asks more than its share; ``details["again_s"]`` says when it may ask again."""

    code = "too_many"


class Unauthenticated(Misuse):
    """Who asks did not prove who they are, and has to.

    ``details["challenge"]`` is what an answer demands (``WWW-Authenticate``).
    """

    code = "unauthenticated"


class Denied(Misuse):
    """Who asks is known, and may not do that."""

    code = "denied"


class Diverged(Misuse):
    """The same events gave other commands than an earlier run recorded."""

    code = "diverged"


class PeerFault(Fault):
    """The remote peer sent something the protocol forbids."""

    code = "peer_fault"


class Corrupt(Fault):
    """Bytes do not match the digest or piece hash they were fetched for."""

    code = "corrupt"


class NotFound(Fault):
    """The thing asked for does not exist here, now."""

    code = "not_found"


class Changed(Fault):
    """What was to be replaced is another version than the caller knew; nothing was done."""

    code = "changed"


class Unavailable(Fault):
    """A dependency is down, too slow or full; the same call may succeed later."""

    code = "unavailable"


class Pending(Unavailable):
    """What was asked for is on its way here.

    ``details["progress"]`` is a number that changes as long as there is hope.
    """

    code = "pending"


class UpstreamFailed(Unavailable):
    """A registry or store that is not of this cluster is down, or full, or will not have us."""

    code = "upstream_failed"
