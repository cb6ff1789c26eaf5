"""How to begin with several blobs at once: the question, the same to trackers and to origins."""

from collections.abc import Mapping, Sequence

import msgspec

from octopull.blob import start
from octopull.blob.metainfo import METAINFO_BYTES_MAX, Growing
from octopull.blob.outline import MAGIC
from octopull.blob.start import STARTS_MAX, Described, Inline, Sealed, Start, plain
from octopull.clients.questions import Digests, read_digests
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt

REPLY_BYTES_MAX = 8 * 1024 * 1024
"""A longer answer leaves blobs out; they are asked for again, or one by one."""

DESCRIBE_S = 35.0
"""A tracker asks several origins before it answers."""

SEALED = "sealed"
"""What a question says by its query if it understands seals; who knows of none answers without."""

AGAIN_HEADER = "Octopull-Again-S"
"""When to ask for more hashes, in seconds."""

AGAIN_S_MAX = 10.0


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
        "POST", f"http://{host}/namespace/{namespace}/starts?{SEALED}=1",
        data=msgspec.json.encode(question), headers={"Content-Type": "application/json"},
        timeout_s=timeout_s, bytes_max=REPLY_BYTES_MAX,
    )  # fmt: skip
    wanted = set(digests)
    return [one for one in start.decode(reply.body) if one.digest in wanted]


async def describe(http: Http, host: str, namespace: str, digest: Digest) -> Described | Sealed:
    """The metainfo of one blob, as far as ``host`` knows it.

    Raises:
        NotFound: no such blob. Unavailable: it does not answer. Corrupt: it answers something
            else.

    """
    url = f"http://{host}/namespace/{namespace}/blobs/{digest}/metainfo?{SEALED}=1"
    body = await http.bytes("GET", url, bytes_max=METAINFO_BYTES_MAX, timeout_s=DESCRIBE_S)
    found = start.decode(body)
    if len(found) != 1 or isinstance(found[0], Inline) or found[0].digest != digest:
        raise Corrupt("not the metainfo that was asked for", digest=str(digest))
    return found[0]


def hashes_path(namespace: str, digest: Digest, first: int) -> str:
    """What to ask a tracker or an origin for, to hear of hashes from the piece ``first`` on."""
    return f"/namespace/{namespace}/blobs/{digest}/hashes?first={first}&{SEALED}=1"


def read_hashes(body: bytes, digest: Digest) -> list[Growing | Sealed]:
    """The answer: parts that follow each other, each with a seal or without.

    Raises:
        Corrupt: it answers something else.

    """
    # Who knows of no seals answers with one part, and no more around it.
    found = [Growing.decode(body)] if body.startswith(MAGIC) else start.decode(body)
    parts: list[Growing | Sealed] = []
    for one in found:
        if not isinstance(plain(one), Growing) or one.digest != digest:
            raise Corrupt("not the hashes that were asked for", digest=str(digest))
        assert isinstance(one, Growing | Sealed)
        parts.append(one)
    return parts


def again_s(headers: Mapping[str, str]) -> float:
    """The value of ``AGAIN_HEADER``; the longest pause if it says nothing."""
    try:
        told_s = float(headers.get(AGAIN_HEADER, ""))
    except ValueError:
        return AGAIN_S_MAX
    return told_s if 0 <= told_s < AGAIN_S_MAX else AGAIN_S_MAX
