"""A peer that speaks the protocol and sends wrong bytes, on a real socket."""

import asyncio
from types import TracebackType
from typing import Self

from octopull.blob.start import Described
from octopull.clients.tracker import AnnounceRequest, SwarmStatus, TrackerClient
from octopull.http.client import Http
from octopull.kernel import bitfield
from octopull.kernel.peers import Peer
from octopull.runtime.sockets import close
from octopull.swarm import codec, handshake
from octopull.swarm.codec import Decoder
from octopull.swarm.messages import Handshake, PieceHead, Request


class FakePeer:
    """Claims to hold all pieces and answers each request with zeros."""

    def __init__(self, described: Described) -> None:
        self.lies = 0
        self.connections = 0
        self._outline = described.outline
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def peer(self) -> Peer:
        assert self._server is not None
        return Peer(id="f" * 40, host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        assert self._server is not None
        await close(self._server)
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        decoder, layout = Decoder(1 << 20), self._outline.layout
        try:
            while data := await reader.read(65536):
                for message in decoder.feed(data):
                    if isinstance(message, Handshake):
                        have = bitfield.full(layout.count)
                        hello = handshake.greet(self._outline, "ns", self.peer, have)
                        writer.write(codec.encode(hello))
                    elif isinstance(message, Request):
                        self.lies += 1
                        length = layout.span(message.piece)[1]
                        writer.write(codec.encode(PieceHead(message.piece, length)) + bytes(length))
        except ConnectionError:
            pass
        writer.close()


async def announce(http: Http, tracker: str, described: Described, peer: Peer) -> None:
    """Tell the tracker that ``peer`` has the blob whole."""
    status = SwarmStatus(
        info_hash=described.outline.info_hash, digest=str(described.digest), namespace="ns",
        complete=True, wants=0,
    )  # fmt: skip
    await TrackerClient(http, [tracker]).announce(AnnounceRequest(peer=peer, swarms=[status]))
