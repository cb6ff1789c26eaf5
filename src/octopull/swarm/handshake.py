"""The first message each way: made from what we have, held against what we know."""

from octopull.blob.metainfo import Metainfo
from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.kernel.peers import Peer
from octopull.swarm.messages import Handshake


def greet(metainfo: Metainfo, namespace: str, me: Peer, have: int) -> Handshake:
    """Our first message in the swarm of ``metainfo``, holding the pieces ``have``."""
    return Handshake(
        info_hash=bytes.fromhex(metainfo.info_hash),
        digest=metainfo.digest,
        namespace=namespace,
        peer=me,
        packed=bitfield.pack(have, metainfo.layout.count),
    )


def check(theirs: Handshake, metainfo: Metainfo) -> int:
    """The pieces they hold.

    Raises:
        PeerFault: they mean another swarm or blob, or their bitfield does not fit it.

    """
    if theirs.info_hash.hex() != metainfo.info_hash:
        raise PeerFault("another swarm", info_hash=theirs.info_hash.hex())
    if theirs.digest != metainfo.digest:
        raise PeerFault("another blob", digest=str(theirs.digest))
    return bitfield.unpack(theirs.packed, metainfo.layout.count)
