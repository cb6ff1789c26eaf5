"""What real clients were seen to send, and what none would: bytes to begin with."""

from collections.abc import Iterator

from octopull.kernel.digest import Digest
from support import golden
from support.access import TOKEN
from support.golden import Ask, Transcript

CLIENT_SETTLES = b"\0~\0"
"""Here the client waits until the server waits for it; without, requests are pipelined."""

SESSION = b"{upload}"
"""Stands for the token of the upload session that the client was told of last."""

PUSHES = ("skopeo-push", "oras-push")
BLOB = b"a blob that is there"
DIGEST = str(Digest.of(BLOB))
IMAGE = "/v2/golden/image"
AUTHORIZED = f"Authorization: Bearer {TOKEN}\r\n"


def request(line: str, headers: str = "", body: bytes = b"") -> bytes:
    """With a length, if it has a body."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{line} HTTP/1.1\r\nHost: r\r\n{headers}{length}\r\n".encode("latin-1") + body


def _asked(ask: Ask, transcript: Transcript) -> bytes:
    path = ask.path
    for number in range(1, 20):
        path = path.replace(f"{{upload-{number}}}", SESSION.decode())
    headers = "".join(f"{name}: {value}\r\n" for name, value in ask.headers)
    body = transcript.bodies.get(ask.body, b"")
    if ask.chunked:
        head = request(f"{ask.method} {path}", f"{headers}Transfer-Encoding: chunked\r\n")
        return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else head + b"0\r\n\r\n"
    return request(f"{ask.method} {path}", headers, body)


def whole(name: str) -> bytes:
    """All that a client sent in the transcript ``name``, in one connection."""
    transcript = golden.load(name)
    return CLIENT_SETTLES.join(_asked(one.ask, transcript) for one in transcript.exchanges)


def _puts(name: str) -> Iterator[bytes]:
    """Questions for all that is there after the transcript ``name``."""
    for exchange in golden.load(name).exchanges:
        if exchange.ask.method == "PUT":
            repository, _, _ = exchange.ask.path.rpartition("/blobs/uploads/")
            path = exchange.ask.path
            if repository:
                path = f"{repository}/blobs/{exchange.told.headers['Docker-Content-Digest']}"
            yield request(f"HEAD {path}")


def _of_clients(*, reads: bool) -> Iterator[bytes]:
    """Each kind of request that any of them sent; those within a session behind its opening."""
    opening = request(f"POST {IMAGE}/blobs/uploads/") + CLIENT_SETTLES
    for path in sorted(golden.FOLDER.glob("*.json")):
        transcript = golden.load(path.stem)
        if transcript.reads or not reads:
            for exchange in transcript.exchanges:
                asked = _asked(exchange.ask, transcript)
                yield opening + asked if SESSION in asked else asked


BLOB_PUSH = request(
    f"POST {IMAGE}/blobs/uploads/?digest={DIGEST}",
    "Content-Type: application/octet-stream\r\n",
    BLOB,
)
SETUP = {
    **{whole(name): tuple(_puts(name)) for name in PUSHES},
    BLOB_PUSH: (request(f"HEAD {IMAGE}/blobs/{DIGEST}"),),
}
"""What is there, and how to ask whether it still is."""

GRANT = "scope=repository:golden/image:pull,push"
READS = (
    request(f"GET {IMAGE}/blobs/{DIGEST}", "Range: bytes=2-5\r\n"),
    request(f"GET {IMAGE}/blobs/{DIGEST}", "Range: bytes=-5\r\nIf-Range: x\r\n"),
    request(f"GET {IMAGE}/manifests/v1", f'If-None-Match: "{DIGEST}"\r\n'),
    request(f"GET {IMAGE}/referrers/{DIGEST}?artifactType=a/b"),
    request(f"GET {IMAGE}/tags/list?n=1&last=a"),
    request("GET /v2/_catalog?n=2", AUTHORIZED),
    request("GET /v2/golden%2fimage/manifests/%2e%2e"),
    request("GET /v2/a%0d%0aX-Evil:%201/tags/list"),
    request("GET http://r/v2/?ns=docker.io"),
    request("OPTIONS *"),
    request("HEAD /v2/", "Connection: close\r\n"),
    request("GET /v2/", "Expect: 100-continue\r\n"),
    request("GET /v2/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    request("GET /v2/", "Authorization: Basic Og==\r\n"),
    request("GET /metrics", AUTHORIZED),
    request("GET /health") + request("GET /readiness"),
)
PROXY_SEEDS = (
    *READS,
    BLOB_PUSH,
    request(f"GET /token?service=registry.example&{GRANT}", AUTHORIZED),
    request("POST /token", "Content-Type: application/x-www-form-urlencoded\r\n",
            f"grant_type=password&username=a&password={TOKEN}&{GRANT}".encode()),
    request("GET /token/keys"),
    request(f"POST /v2/mounted/blobs/uploads/?mount={DIGEST}&from=golden/image"),
    request(f"POST {IMAGE}/blobs/uploads/?digest-algorithm=sha512"),
    request(f"POST {IMAGE}/blobs/uploads/") + CLIENT_SETTLES
    + request(f"PATCH {IMAGE}/blobs/uploads/{{upload}}", "Content-Range: 0-2\r\n", b"abc")
    + CLIENT_SETTLES + request(f"GET {IMAGE}/blobs/uploads/{{upload}}")
    + request(f"DELETE {IMAGE}/blobs/uploads/{{upload}}"),
    request(f"POST {IMAGE}/blobs/uploads/") + CLIENT_SETTLES
    + request(f"PATCH {IMAGE}/blobs/uploads/{{upload}}", "Transfer-Encoding: chunked\r\n")
    + b"3\r\nabc\r\n" + CLIENT_SETTLES + b"2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n"
    + request(f"PUT {IMAGE}/blobs/uploads/{{upload}}?digest={Digest.of(b'abcde')}"),
    request(f"PUT {IMAGE}/manifests/v2", "Content-Type: application/json\r\n", b"{}"),
    request("PUT /v2/team/app/manifests/v2?tag=a&tag=b", AUTHORIZED, b'{"schemaVersion": 2}'),
    request(f"DELETE {IMAGE}/manifests/v1"),
    request(f"DELETE {IMAGE}/blobs/{DIGEST}"),
    request("POST /proxy/v1/registry/prefetch", AUTHORIZED, b'{"tag": "golden/image:v1"}'),
    request("POST /registry/notifications", AUTHORIZED, b'{"events": []}'),
    *dict.fromkeys(_of_clients(reads=False)),
)  # fmt: skip
AGENT_SEEDS = (
    *READS,
    request(f"GET /namespace/golden%2fimage/blobs/{DIGEST}"),
    request("GET /tags/golden%2fimage%3av1", AUTHORIZED),
    request("GET /status", AUTHORIZED),
    request(f"DELETE /blobs/{DIGEST}", AUTHORIZED),
    request(f"POST {IMAGE}/blobs/uploads/"),
    *dict.fromkeys(_of_clients(reads=True)),
)
