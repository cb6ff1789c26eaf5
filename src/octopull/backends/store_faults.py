"""What obstore raises, as faults. Its own words never go further: a URL in them may be signed."""

import re

from octopull.kernel.errors import Fault, InvalidRange, NotFound, Unavailable

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_DENIED = {"PermissionDeniedError", "UnauthenticatedError"}
_REASONS = {
    "ConnectError": "can't be reached",
    "kind: Timeout": "can't be reached in time",
    "TimedOut": "can't be reached in time",
    "kind: Connect": "can't be reached",
    "token request": "is closed to us: nobody gives us a token",
    "Missing": "is closed to us: there are no credentials",
    "no credentials": "is closed to us: there are no credentials",
}


def fault_of(error: Exception, label: str) -> Fault:
    """The fault that ``error``, of a request to the store ``label``, stands for.

    NotFound: the store says that there is no such object, or, to HEAD, perhaps no such bucket.
    """
    words, kind = str(error), type(error).__name__
    status, code = _first(_STATUS, words), _first(_CODE, words)
    if isinstance(error, FileNotFoundError) and code not in _NO_BUCKET:
        return NotFound("no such object")
    if code in _NO_BUCKET:
        return Unavailable(f"{label}: there is no such bucket", answer=code)
    if status == "416":
        return InvalidRange("the object has no such bytes")
    if kind in _DENIED or status in {"401", "403"}:
        return Unavailable(
            f"{label} refuses this cluster's credentials{f' ({code})' if code else ''}",
            status=status,
        )
    if status:
        said = f"{status} {code}" if code else status
        return Unavailable(f"{label} answers {said}", status=status)
    reason = next((reason for sign, reason in _REASONS.items() if sign in words), "failed")
    return Unavailable(f"{label} {reason}", error=kind)


def _first(pattern: re.Pattern[str], words: str) -> str:
    found = pattern.search(words)
    return found[1] if found else ""
