"""What a certificate says its holder is: a role and a name, in a URI among its names."""

import re
from collections.abc import Collection
from enum import StrEnum
from urllib.parse import quote

from octopull.kernel.errors import InvalidName
from octopull.security.identity import CertificateNames

_URI = re.compile(r"octopull://([a-z-]+)/[^/?#]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.:_*@-]{1,255}", re.ASCII)


class Role(StrEnum):
    """The services, and whoever commands them."""

    AGENT = "agent"
    ORIGIN = "origin"
    TRACKER = "tracker"
    TAG_INDEX = "tag-index"
    PROXY = "proxy"
    OPERATOR = "operator"
    """A person, or a job that runs ``octopull``'s commands."""


def uri(role: Role, name: str) -> str:
    """How a certificate says so, such as ``octopull://origin/origin-1.example``.

    Raises:
        InvalidName: nothing that a file or a URI could be named by.

    """
    if _NAME.fullmatch(name) is None or name in {".", ".."}:
        raise InvalidName("a certificate's holder has a name such as a host's", name=name)
    return f"octopull://{role}/{quote(name, safe='')}"


def roles_of(names: CertificateNames | None) -> frozenset[Role]:
    """The roles that a certificate gives its holder; none if there is no certificate."""
    found = () if names is None else map(_URI.fullmatch, names.uris)
    return frozenset(Role(one[1]) for one in found if one is not None and one[1] in set(Role))


def listed(roles: Collection[Role]) -> str:
    """``roles`` for a sentence."""
    return " or ".join(sorted(roles)) or "no service"
