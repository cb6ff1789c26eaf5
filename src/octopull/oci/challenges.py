"""What a registry demands before it answers: ``WWW-Authenticate`` (RFC 9110 section 11.6.1).

A bearer challenge names whom to ask for a token (RFC 6750 section 3; distribution,
docs/spec/auth/token.md).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADER_CHARS_MAX = 4096
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NEXT = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD}))(?=[\s,]|$)
        |(?P<scheme>{_WORD})(?:[ ]+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?(?=[\s,]|$)
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, with its parameters by lower-case name."""

    scheme: str
    parameters: dict[str, str]

    def __str__(self) -> str:
        """As the value of a header; every parameter is quoted."""
        told = (f'{name}="{_escaped(value)}"' for name, value in self.parameters.items())
        return f"{self.scheme.capitalize()} {','.join(told)}"


def _escaped(value: str) -> str:
    """Within quotes, and on one line whatever it holds."""
    printable = "".join(char if " " <= char < "\x7f" else "?" for char in value)
    return re.sub(r'(["\\])', r"\\\1", printable)


def parse(header: str) -> list[Challenge]:
    """The challenges of a header, in its order; what is malformed ends the list."""
    found: list[Challenge] = []
    for match in _parts(header[:HEADER_CHARS_MAX]):
        scheme, name = match["scheme"], match["name"]
        if scheme is not None:
            found.append(Challenge(scheme.lower(), {}))
        elif found:
            value = match["plain"]
            if value is None:
                value = re.sub(r"\\(.)", r"\1", match["quoted"], flags=re.DOTALL)
            found[-1].parameters.setdefault(name.lower(), value)
    return found


def _parts(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while match := _NEXT.match(text, at):
        yield match
        at = match.end()
