"""Byte ranges of requests: ``Range`` on the way out, ``Content-Range`` on the way in."""

import re
from dataclasses import dataclass

from octopull.kernel.errors import InvalidRange

_SPEC = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)
_CONTENT = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes from ``start`` on."""

    start: int
    length: int


def parse_range(header: str | None, size: int) -> Span | None:
    """What a ``Range`` header asks of ``size`` bytes (RFC 9110 section 14.2).

    None: serve the whole. Another unit, several ranges or nonsense are ignored, as the
    RFC allows.

    Raises:
        InvalidRange: the one range asked for holds no byte.

    """
    match = _SPEC.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    if match[3] is not None:
        length = min(int(match[3]), size)
        start = size - length
    else:
        start = int(match[1])
        end = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < start:
            return None
        length = end - start + 1
    if length <= 0:
        raise InvalidRange("the range holds no byte of the blob", size=size)
    return Span(start, length)


def parse_content_range(header: str) -> Span:
    """Where a chunk belongs: ``start-end``, end included (distribution-spec 1.1, end-5).

    Raises:
        InvalidRange: it says something else.

    """
    match = _CONTENT.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise InvalidRange("Content-Range must be <start>-<end>, end included")
    return Span(int(match[1]), int(match[2]) - int(match[1]) + 1)
