"""How to begin with several blobs at once: the question, the same to trackers and to origins."""

from collections.abc import Sequence

import msgspec

from octopull.blob import start
from octopull.blob.start import STARTS_MAX, Start
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse

REPLY_BYTES_MAX = 8 * 1024 * 1024
"""A longer answer leaves blobs out; they are asked for again, or one by one."""


class StartsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blobs somebody wants to begin with."""

    digests: list[str]


def read_request(body: bytes) -> list[Digest]:
    """The digests asked for.

    Raises:
        Misuse: not a question, or one for too many.

    """
    try:
        asked = msgspec.json.decode(body, type=StartsRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misuse(f"not a question for starts: {error}") from error
    if len(asked.digests) > STARTS_MAX:
        raise Misuse("too many digests in one question", most=STARTS_MAX)
    return [Digest.parse(digest) for digest in asked.digests]


async def ask(
    http: Http, host: str, namespace: str, digests: Sequence[Digest], timeout_s: float
) -> list[Start]:
    """What ``host`` says of ``digests``; those it can't tell of are left out.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    question = StartsRequest(digests=[str(digest) for digest in digests])
    reply = await http.call(
        "POST", f"http://{host}/namespace/{namespace}/starts",
        data=msgspec.json.encode(question), headers={"Content-Type": "application/json"},
        timeout_s=timeout_s, bytes_max=REPLY_BYTES_MAX,
    )  # fmt: skip
    wanted = set(digests)
    return [one for one in start.decode(reply.body) if one.digest in wanted]
