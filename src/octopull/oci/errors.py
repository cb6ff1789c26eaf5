"""Faults in the words of the OCI distribution-spec 1.1 ("Error Codes"), and their statuses."""

from dataclasses import dataclass
from enum import StrEnum

from octopull.kernel.errors import Changed, Corrupt, Fault, Misuse, NotFound, Unavailable


class OciCode(StrEnum):
    """The specification's codes; a fault carries one in ``details["oci"]`` to be exact."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNSUPPORTED = "UNSUPPORTED"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a fault is answered."""

    status: int
    code: OciCode


_BY_CODE = {
    "digest_invalid": Refusal(400, OciCode.DIGEST_INVALID),
    "name_invalid": Refusal(400, OciCode.NAME_INVALID),
    "manifest_invalid": Refusal(400, OciCode.MANIFEST_INVALID),
    "manifest_blob_unknown": Refusal(400, OciCode.MANIFEST_BLOB_UNKNOWN),
    "range_invalid": Refusal(416, OciCode.BLOB_UPLOAD_INVALID),
    "too_large": Refusal(413, OciCode.SIZE_INVALID),
    "too_slow": Refusal(408, OciCode.BLOB_UPLOAD_INVALID),
    "denied": Refusal(403, OciCode.DENIED),
    "too_many": Refusal(429, OciCode.TOOMANYREQUESTS),
    "unsupported": Refusal(405, OciCode.UNSUPPORTED),
    "unauthenticated": Refusal(401, OciCode.UNAUTHORIZED),
}
_BY_KIND: tuple[tuple[type[Fault], Refusal], ...] = (
    (Misuse, Refusal(400, OciCode.UNSUPPORTED)),
    (NotFound, Refusal(404, OciCode.NAME_UNKNOWN)),
    (Changed, Refusal(409, OciCode.UNSUPPORTED)),
    (Unavailable, Refusal(503, OciCode.UNAVAILABLE)),
    (Corrupt, Refusal(502, OciCode.UNKNOWN)),
    (Fault, Refusal(502, OciCode.UNKNOWN)),
)


def refusal(fault: Fault) -> Refusal:
    """Status and code of the answer to ``fault``."""
    found = _BY_CODE.get(fault.code)
    if found is None:
        found = next(refused for kind, refused in _BY_KIND if isinstance(fault, kind))
    exact = fault.details.get("oci")
    return Refusal(found.status, exact) if isinstance(exact, OciCode) else found


def body(fault: Fault) -> dict[str, list[dict[str, object]]]:
    """The JSON document of the answer; details stay out of it, they may name our insides.

    So may a sentence: then ``details["public"]`` is said in its place.
    """
    message = str(fault.details.get("public", fault))
    return {"errors": [{"code": refusal(fault).code.value, "message": message, "detail": {}}]}


def exact(fault: Fault, code: OciCode) -> Fault:
    """``fault`` itself, to be answered with ``code``."""
    fault.details["oci"] = code
    return fault
