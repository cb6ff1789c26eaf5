"""Images as people and other registries name them: with or without a host before them."""

from collections.abc import Collection

from octopull.kernel.errors import InvalidName
from octopull.kernel.names import TagName
from octopull.oci.upstreams import canonical


def readings(text: str, upstreams: Collection[str]) -> list[TagName]:
    """What ``repository:tag`` or ``host/repository:tag`` may mean here, most literal first.

    As docker has it, a first part with a dot or a colon, or ``localhost``, may be a host; but
    repositories may have dots, too, and an upstream's name is a part of the repository.

    Raises:
        InvalidName: it can mean nothing.

    """
    head, _, tail = text.partition("/")
    found: list[TagName] = []
    host = tail and ("." in head or ":" in head or head == "localhost") and head not in upstreams
    for candidate in (text, tail) if host else (text,):
        try:
            name = TagName.parse(candidate)
        except InvalidName:
            continue
        found.append(TagName(canonical(name.repository, None, upstreams), name.tag))
    if not found:
        raise InvalidName("expected repository:tag, with or without a host", name=text[:80])
    return found
