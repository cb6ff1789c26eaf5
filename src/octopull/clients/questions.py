"""Questions about several blobs at once, as a service reads them."""

from collections.abc import Sequence

import msgspec

from octopull.kernel import documents
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse


class Digests(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blobs somebody asks for."""

    digests: list[str]


_DIGESTS = msgspec.json.Decoder(Digests)


def read_digests(body: bytes, what: str, most: int) -> list[Digest]:
    """The digests asked for, at most ``most``; ``what`` names the question to people.

    Raises:
        Misuse: not a question, or one for too many. InvalidDigest: not all are digests.

    """
    return parse_digests(documents.read(_DIGESTS.decode, body, what).digests, most)


def parse_digests(texts: Sequence[str], most: int) -> list[Digest]:
    """The digests of a question.

    Raises:
        Misuse: more than ``most``. InvalidDigest: not all are digests.

    """
    if len(texts) > most:
        raise Misuse("too many digests in one question", most=most)
    return [Digest.parse(text) for text in texts]
