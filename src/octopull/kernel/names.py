"""Repository, tag and namespace names, by the grammar of the OCI distribution-spec 1.1.

Names become parts of paths, so a name in hand was checked: no ``..``, no empty
part, no separator but ``/``, a bounded length.
"""

import re
from dataclasses import dataclass

from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidName

NAME_CHARS_MAX = 255
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_NAMESPACE = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._:-]*(?:/[a-zA-Z0-9_][a-zA-Z0-9._:-]*)*", re.ASCII)


def repository(text: str) -> str:
    """``text`` itself, if it names a repository (distribution-spec 1.1, "Pulling manifests").

    Raises:
        InvalidName: it does not.

    """
    if len(text) > NAME_CHARS_MAX or _REPOSITORY.fullmatch(text) is None:
        raise InvalidName("not a repository name", name=text[:80])
    return text


def tag(text: str) -> str:
    """``text`` itself, if it is a tag of at most 128 characters.

    Raises:
        InvalidName: it is not.

    """
    if _TAG.fullmatch(text) is None:
        raise InvalidName("not a tag", tag=text[:80])
    return text


def namespace(text: str) -> str:
    """``text`` itself, if it may choose a backend: a repository name, upper case allowed.

    Raises:
        InvalidName: it may not.

    """
    if len(text) > NAME_CHARS_MAX or _NAMESPACE.fullmatch(text) is None:
        raise InvalidName("not a namespace", namespace=text[:80])
    return text


def reference(text: str) -> Digest | str:
    """What a manifest is asked for by: a digest if it has a colon, else a tag.

    Raises:
        InvalidDigest: a colon and no digest.
        InvalidName: no colon and no tag.

    """
    return Digest.parse(text) if ":" in text else tag(text)


@dataclass(frozen=True, slots=True)
class TagName:
    """A tag within its repository, printed ``repository:tag``."""

    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "TagName":
        """Read ``repository:tag``.

        Raises:
            InvalidName: a part is missing or malformed.

        """
        head, colon, tail = text.rpartition(":")
        if not colon:
            raise InvalidName("expected repository:tag", name=text[:80])
        return cls(repository(head), tag(tail))

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"
