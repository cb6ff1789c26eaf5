"""The first message each way: made from what we have, held against what we know."""

from octopull.blob.outline import Outline
from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.kernel.peers import Peer
from octopull.swarm.messages import Handshake


def greet(outline: Outline, namespace: str, me: Peer, have: int) -> Handshake:
    """Our first message in the swarm of ``outline``, holding the pieces ``have``."""
    return Handshake(
        info_hash=bytes.fromhex(outline.info_hash),
        digest=outline.digest,
        namespace=namespace,
        peer=me,
        packed=bitfield.pack(have, outline.layout.count),
    )


def check(theirs: Handshake, outline: Outline) -> int:
    """The pieces they hold.

    Raises:
        PeerFault: they mean another swarm or blob, or their bitfield does not fit it.

    """
    if theirs.info_hash.hex() != outline.info_hash:
        raise PeerFault("another swarm", info_hash=theirs.info_hash.hex())
    if theirs.digest != outline.digest:
        raise PeerFault("another blob", digest=str(theirs.digest))
    return bitfield.unpack(theirs.packed, outline.layout.count)
