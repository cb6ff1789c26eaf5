"""How to begin with several blobs at once: the question, the same to trackers and to origins."""

from collections.abc import Sequence

import msgspec

from octopull.blob import start
from octopull.blob.start import STARTS_MAX, Start
from octopull.clients.questions import Digests, read_digests
from octopull.http.client import Http
from octopull.kernel.digest import Digest

REPLY_BYTES_MAX = 8 * 1024 * 1024
"""A longer answer leaves blobs out; they are asked for again, or one by one."""


def read_request(body: bytes) -> list[Digest]:
    """The digests asked for.

    Raises:
        Misuse: not a question, or one for too many.

    """
    return read_digests(body, "a question for starts", STARTS_MAX)


async def ask(
    http: Http, host: str, namespace: str, digests: Sequence[Digest], timeout_s: float
) -> list[Start]:
    """What ``host`` says of ``digests``; those it can't tell of are left out.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    question = Digests(digests=[str(digest) for digest in digests])
    reply = await http.call(
        "POST", f"http://{host}/namespace/{namespace}/starts",
        data=msgspec.json.encode(question), headers={"Content-Type": "application/json"},
        timeout_s=timeout_s, bytes_max=REPLY_BYTES_MAX,
    )  # fmt: skip
    wanted = set(digests)
    return [one for one in start.decode(reply.body) if one.digest in wanted]
