"""What reads bytes of strangers, each with bytes to begin with: it understands them, or says whose
fault that is. Anything else is a defect.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from octopull.blob.hashing import LeafHasher
from octopull.blob.metainfo import Growing, Metainfo, describe
from octopull.blob.outline import Outline
from octopull.blob.seal import Seal
from octopull.blob.start import Inline, Sealed
from octopull.blob.start import decode as decode_starts
from octopull.blob.start import encode as encode_start
from octopull.cli.mirrors import toml
from octopull.cli.mirrors.names import Agent
from octopull.clients.questions import read_digests
from octopull.clients.starts import read_hashes, read_request
from octopull.clients.tag_index import Asked
from octopull.clients.tracker import AnnounceRequest, SwarmStatus
from octopull.config import load
from octopull.config.access import TokenServiceSettings
from octopull.config.replication import RulesSettings
from octopull.config.services import AgentConfig, OriginConfig, ProxyConfig
from octopull.consensus.messages import Append, Appended, Entry, Greeting, Joins, VoteAsked
from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.kernel.names import TagName
from octopull.kernel.peers import Peer, PeerKind
from octopull.oci import challenges, image_names, manifests, notifications, signatures
from octopull.oci.listing import Page
from octopull.oci.ranges import parse_content_range, parse_range
from octopull.placement import labels
from octopull.placement.heartbeats import Heartbeat, Preheat, Progress, State
from octopull.registry.access import access, token_service
from octopull.runtime.bandwidth import Rate
from octopull.security import (
    callers,
    credentials,
    htpasswd,
    issuing,
    key_sets,
    scopes,
    signed_tokens,
    static_tokens,
    verifying,
)  # fmt: skip
from octopull.security.globs import Glob
from octopull.security.key_sets import KeySet
from octopull.security.scopes import Scope
from octopull.security.signed_tokens import Demands
from octopull.services.proxy import prefetch_api
from octopull.services.tag_index import outbox, quota_api, quotas, statements
from octopull.services.tracker.api import read_announce
from octopull.swarm.codec import Decoder, encode
from octopull.swarm.messages import Handshake, Haves, Message, PieceHead, Request
from octopull.transport.bandwidth_api import read_change
from support.signing import FORMS
from support.signing import Signer as SignsImages

Parse = Callable[[bytes], object]
FRAME_BYTES_MAX = 4096
DIGEST = Digest.of(b"a blob")


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and bytes that lead into it."""

    parse: Parse
    seeds: tuple[bytes, ...]

    def try_out(self, data: bytes) -> None:
        """Raises what ``parse`` raises, unless that is what it may."""
        with contextlib.suppress(Fault):
            self.parse(data)


def text(parse: Callable[[str], object]) -> Parse:
    """A parser of text, as headers and paths bring it: any bytes, some of which are no UTF-8."""
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def there_and_back(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> Parse:
    """A parser whose result, written and read again, must be the same."""

    def parse(data: bytes) -> None:
        found = decode(data)
        assert decode(encode(found)) == found

    return parse


def _metainfo() -> Metainfo:
    hasher, blob = LeafHasher(), bytes(300_000)
    hasher.update(blob)
    return describe(Digest.of(blob), len(blob), hasher)


METAINFO = _metainfo()
SEAL = Seal(b"signature", (b"certificate", b"another"))
PEER = Peer(id="ab" * 20, host="host.example", port=6881, kind=PeerKind.AGENT, zone="rack-7")
HANDSHAKE = Handshake(b"\x01" * 32, DIGEST, "library/nginx", PEER, b"\xff\x01")
SAID: tuple[Message, ...] = (HANDSHAKE, Haves(0b1011), Request(7), PieceHead(7, 65536))


def _frames(data: bytes) -> None:
    """Two slicings of a stream say the same."""
    whole, sliced = Decoder(FRAME_BYTES_MAX), Decoder(FRAME_BYTES_MAX)
    said: list[list[Message]] = [[], []]
    faults = 0
    for heard, decoder, cuts in ((said[0], whole, [data]), (said[1], sliced, _halves(data))):
        try:
            for part in cuts:
                heard.extend(decoder.feed(part))
        except Fault:
            faults += 1
    assert faults in {0, 2}
    assert said[0] == said[1]


def _halves(data: bytes) -> list[bytes]:
    middle = len(data) // 2
    return [data[:middle], data[middle:]]


def _range(data: bytes) -> None:
    size = int.from_bytes(data[:8], "big")
    span = parse_range(data[8:].decode("latin-1"), size)
    assert span is None or 0 <= span.start < span.start + span.length <= size


def _labels(given: str) -> None:
    labels.check(labels.parse(given))


def _repository(given: str) -> None:
    # What is checked becomes a path, a header and a line of a log.
    assert not set(names.repository(given)) & set("\\\0\r\n\t ")
    assert ".." not in names.repository(given).split("/")


def _configuration(given: str) -> None:
    document = load.parse(given, "the file")
    for section, shape in (
        ("agent", AgentConfig),
        ("origin", OriginConfig),
        ("proxy", ProxyConfig),
    ):
        with contextlib.suppress(Fault):
            load.load(shape, section, document, {})


def _rules(given: str) -> None:
    load.load(RulesSettings, "rules", {"rules": load.parse(given, "the file")}, {})


def _pattern(given: str) -> None:
    pattern, _, name = given.partition("\0")
    Glob(pattern).matches(name)


def _grants(data: bytes) -> None:
    scopes.granted(documents.read(msgspec.json.decode, data, "a claim"))


def _signed(given: str) -> None:
    token = signed_tokens.read(given)
    claims = signed_tokens.prove(token, SIGNER_KEYS.named(token.key_id), Demands.of(SERVICE))
    signed_tokens.bearer(claims)


def json(document: object) -> bytes:
    """A seed."""
    return msgspec.json.encode(document)


def _json_reader(shape: Any) -> Parse:
    decoder = msgspec.json.Decoder(shape)
    return lambda data: documents.read(decoder.decode, data, "a document")


OCI = "application/vnd.oci.image"
LAYER = {"mediaType": f"{OCI}.layer.v1.tar+gzip", "digest": str(DIGEST), "size": 6}
MANIFEST = {
    "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": LAYER,
    "layers": [LAYER], "subject": LAYER, "annotations": {"a": "b"},
}  # fmt: skip
INDEX = {
    "schemaVersion": 2,
    "manifests": [{**LAYER, "platform": {"os": "linux", "architecture": "arm64"}}],
}
ANNOUNCE = AnnounceRequest(
    peer=PEER,
    swarms=[SwarmStatus(info_hash="0" * 64, digest=str(DIGEST), namespace="a/b", complete=False,
                        wants=5)],
)  # fmt: skip
PREHEAT = Preheat(namespace="a/b", digest=str(DIGEST), agents=[{"pool": "web"}])
HEARTBEAT = Heartbeat(
    id=PEER.id, interval_s=15, zone="rack-7", labels={"pool": "web"},
    progress=[Progress(id=PREHEAT.id, run=1, state=State.FAILED, reason="no such blob")],
)  # fmt: skip
PUSH = {
    "action": "push",
    "target": {"mediaType": f"{OCI}.manifest.v1+json", "repository": "a/b", "digest": str(DIGEST),
               "tag": "v1"},
    "request": {"host": "registry.example"},
}  # fmt: skip
HARBOR = {
    "type": "PUSH_ARTIFACT",
    "event_data": {"resources": [{"digest": str(DIGEST), "tag": "v1", "resource_url": "h/a/b:v1"}],
                   "repository": {"repo_full_name": "a/b"}},
}  # fmt: skip
MEMBERS = [
    VoteAsked(term=3, last_index=2, last_term=1, trial=True),
    Append(term=3, before_index=1, before_term=1, entries=(Entry(3, b"x"),), commit=1, round=4,
           joins=Joins(7, 1)),
    Appended(term=3, matched=True, index=2, round=4),
    Greeting(term=1, blank=True, founding=False, counts=True, birth=9, answer=False),
]  # fmt: skip
TRANSACTION = [("INSERT INTO tags VALUES (?, ?)", [["a", 1], ["b", None]])]

CONFIGURATION = b"""
agent: {data: d, trackers: ["t:5020"], tag_indexes: ["i:5030"], listen: {port: 5000}}
origin: {data: d, backends: [{name: s3, url: "s3://bucket/root"}], repair: {every_s: 10}}
proxy: {origins: ["o:5010"], tag_indexes: ["i:5030"], weights: {"o:5010": 2}}
"""
RULES = b"""
remotes: [{name: west, url: "https://west.example", streams: 4}]
rules: [{match: "team/.*", remotes: [west], deletes: true}]
"""

QUOTAS = b"quotas: [{name: team, repositories: ['team/**'], bytes: 5}]"
POLICY = b"""
groups: {g: ["user:a"]}
rules: [{who: [known, "group:g"], repositories: ["a/**"], actions: [pull], effect: deny}]
signatures: []
"""
TOKENS = b"tokens: [{name: ci, sha256: '" + b"0" * 64 + b"', groups: [g], expires: '2099-01-01'}]"
SIGNER = issuing.parse(
    ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
SIGNER_KEYS = KeySet((SIGNER.public,))
JWKS = issuing.shown(SIGNER_KEYS)
PEM = SIGNER.public.public.public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
SERVICE = TokenServiceSettings(key="key", lifetime_s=3600)
TOKEN = SIGNER.token(SERVICE, "a", (Scope("repository", "a", ("pull",)),), time.time())

SIGNED = [SignsImages().sign(json(MANIFEST), form) for form in FORMS]


def _signature(data: bytes) -> None:
    """A payload, or a bundle."""
    signatures.is_document(data)
    kind = signatures.BUNDLE if b"dsseEnvelope" in data else signatures.PAYLOAD
    signatures.statement(signatures.Part(kind, DIGEST, len(data), "AAAA"), data)


TARGETS: dict[str, Target] = {
    "peer frames": Target(_frames, (b"".join(map(encode, SAID)), *map(encode, SAID))),
    "metainfo": Target(there_and_back(Metainfo.decode, Metainfo.encode), (METAINFO.encode(),)),
    "growing metainfo": Target(
        there_and_back(Growing.decode, Growing.encode),
        (Growing(METAINFO.outline, 0, METAINFO.piece_hashes).encode(),),
    ),
    "outline": Target(lambda data: Outline.decode(data)[0].encode(), (METAINFO.outline.encode(),)),
    "starts": Target(
        there_and_back(decode_starts, lambda found: b"".join(map(encode_start, found))),
        (
            encode_start(METAINFO),
            encode_start(Inline(DIGEST, b"a blob")),
            encode_start(Sealed(METAINFO, SEAL.encode())),
        ),
    ),
    "seal": Target(there_and_back(Seal.decode, Seal.encode), (SEAL.encode(),)),
    "hashes told": Target(
        lambda data: read_hashes(data, METAINFO.digest),
        (encode_start(Sealed(Growing(METAINFO.outline, 0, METAINFO.piece_hashes), SEAL.encode())),),
    ),
    "announce": Target(read_announce, (json(ANNOUNCE),)),
    "heartbeat": Target(_json_reader(Heartbeat), (json(HEARTBEAT),)),
    "preheat": Target(_json_reader(Preheat), (json(PREHEAT),)),
    "prefetch": Target(prefetch_api.read, (b'{"tag": "a/b:v1", "platforms": ["linux/arm64"]}',)),
    "question": Target(
        lambda data: read_digests(data, "a question", 100), (json({"digests": [str(DIGEST)]}),)
    ),
    "starts asked": Target(read_request, (json({"digests": [str(DIGEST)]}),)),
    "bandwidth": Target(
        lambda data: read_change(data, {"in_bytes_per_s": Rate(None)}), (b'{"in_bytes_per_s": 1}',)
    ),
    "manifest": Target(lambda data: manifests.parse(data, None), (json(MANIFEST), json(INDEX))),
    "notification": Target(notifications.read, (json({"events": [PUSH]}), json(HARBOR))),
    "members of a group": Target(outbox.decode, (msgspec.msgpack.encode(MEMBERS),)),
    "entry of the log": Target(
        there_and_back(statements.decode, statements.encode), (msgspec.msgpack.encode(TRANSACTION),)
    ),
    "digest": Target(
        text(lambda given: Digest.parse(str(Digest.parse(given)))),
        (str(DIGEST).encode(), b"sha512:" + b"0" * 128),
    ),
    "repository": Target(text(_repository), (b"team/app-1", b"a__b/c.d")),
    "namespace": Target(text(names.namespace), (b"team/app", b"a.b")),
    "reference": Target(text(names.reference), (b"v1.2_3", str(DIGEST).encode())),
    "tag name": Target(text(TagName.parse), (b"team/app:v1",)),
    "image name": Target(
        text(lambda given: image_names.readings(given, ["docker.io"])),
        (b"docker.io/library/nginx:1", b"localhost:5000/a:b"),
    ),
    "labels": Target(text(_labels), (b"pool=web,rack=r7",)),
    "range": Target(_range, (b"\0\0\0\0\0\0\1\0bytes=0-99", b"\0\0\0\0\0\0\1\0bytes=-5")),
    "content range": Target(text(parse_content_range), (b"0-99", b"bytes 5-9/*")),
    "page": Target(text(lambda given: Page.parse({"n": given, "last": given})), (b"100",)),
    "challenges": Target(
        text(challenges.parse),
        (b'Bearer realm="https://a/token",service="b",scope="repository:c:pull"', b"Basic realm=x"),
    ),
    "configuration": Target(
        text(_configuration),
        (CONFIGURATION, b"{a: 2001-12-14t21:59:43.10, b: 0b11, c: 190:20:30}"),
    ),
    "rules": Target(text(_rules), (RULES,)),
    "rules of access": Target(access.policy, (POLICY,)),
    "quotas": Target(quotas.parse, (QUOTAS,)),
    "what arrives": Target(quota_api.read, (json({"sizes": {str(DIGEST): 5}, "more": 7}),)),
    "who": Target(text(callers.parse), (b"claim:idp:sub=a*", b"group:x", b"anyone")),
    "pattern": Target(text(_pattern), (b"a/**/b*\0a/x/b1", b"*\0a")),
    "users": Target(htpasswd.parse, (b"# users\na:$2y$05$" + b"x" * 53,)),
    "kept tokens": Target(static_tokens.parse, (TOKENS,)),
    "authorization": Target(text(credentials.parse), (b"Basic YTpi", b"Bearer abc.def_g-h==")),
    "scopes": Target(
        text(lambda given: scopes.parse(map(str, scopes.parse([given])))),
        (b"repository(plugin):a/b:pull,push registry:catalog:*",),
    ),
    "form": Target(token_service.read_form, (b"grant_type=password&username=a%20b&scope=",)),
    "grants": Target(_grants, (json([{"type": "repository", "name": "a", "actions": ["pull"]}]),)),
    "signed token": Target(text(_signed), (TOKEN.encode(),)),
    "keys": Target(key_sets.parse, (JWKS, PEM)),
    "signatures": Target(signatures.parts, tuple(one.manifest for one in SIGNED)),
    "signature": Target(_signature, tuple({one.blobs[1] for one in SIGNED})),
    "key of signatures": Target(lambda data: verifying.parse(data, "key"), (PEM,)),
    "digests held": Target(_json_reader(Asked), (json(Asked(manifests=[str(DIGEST)])),)),
    "mirror settings": Target(text(toml.parse), (b'[host."http://127.0.0.1:5000"]\nx = ["a"]',)),
    "agent's address": Target(text(Agent.parse), (b"https://127.0.0.1:5000", b"[::1]:80")),
}
