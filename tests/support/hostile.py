"""What has been seen to break servers: malformed requests, and documents that go off."""

from octopull.oci.manifests import MediaType
from support.registry import LAYER, descriptor, digest_of, index, manifest

UPLOADS = "/v2/hostile/blobs/uploads/"
NOWHERE = digest_of(b"nowhere")
HEAD = b"Host: x\r\nConnection: close\r\n"
MALFORMED = [
    b"\r\n\r\n\r\nNONSENSE\r\n\r\n",
    b"GET  HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v2/ HTTP/9.9\r\n" + HEAD + b"\r\n",
    b"G\x00ET /v2/ HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v2/ HTTP/1.1\r\nA" + b"a" * 100_000 + b": b\r\n" + HEAD + b"\r\n",
    b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + HEAD + b"\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n{}",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: +2\r\n\r\n{}",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD
    + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: cow\r\n\r\n{}",
    b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HEAD
    + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    b"POST " + UPLOADS.encode() + b"?digest=" + NOWHERE.encode() + b" HTTP/1.1\r\n" + HEAD
    + b"Content-Length: 99999999999999999999999\r\n\r\nx",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]  # fmt: skip

GOOD = manifest(b"{}")
BOMBS = {
    "deep lists": b"[" * 1_000_000,
    "deep lists, closed": b"[" * 500_000 + b"]" * 500_000,
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "deep field": GOOD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long number": GOOD[:-1] + b', "x": ' + b"9" * 1_000_000 + b"}",
    "long size": GOOD.replace(b'"size": 2', b'"size": ' + b"9" * 100_000),
    "great exponent": GOOD.replace(b'"size": 2', b'"size": 1e999999999'),
    "fraction": GOOD.replace(b'"size": 2', b'"size": 2.5'),
    "size beyond 63 bits": GOOD.replace(b'"size": 2', b'"size": 18446744073709551616'),
    "negative size": GOOD.replace(b'"size": 2', b'"size": -2'),
    "not a number": GOOD.replace(b'"size": 2', b'"size": NaN'),
    "not UTF-8": GOOD[:-1] + b', "x": "\xff\xfe"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "lone surrogate": GOOD[:-1] + b', "annotations": {"a": "\\ud800"}}',
    "annotation that is no text": manifest(b"{}", annotations={"a": 5}),
    "annotations in a list": manifest(b"{}", annotations=["a"]),
    "artifact type that is no text": manifest(b"{}", artifactType=["a"]),
    "cut": GOOD[:-5],
    "trailing bytes": GOOD + b"{}",
    "nothing": b"",
    "spaces": b" " * 1_000_000,
    "zeros": bytes(1_000_000),
    "upper-case digest": GOOD.replace(digest_of(b"{}").encode(), b"sha256:" + b"A" * 64),
    "path as digest": GOOD.replace(digest_of(b"{}").encode(), b"sha256:../../../etc/passwd"),
    "too many layers": manifest(b"{}", layers=[descriptor(b"{}", LAYER)] * 20_000),
    "itself as layer": GOOD.replace(b'"layers": []', b'"layers": [null]'),
    "index of nothing": index(manifests=[{}]),
    "an index and a manifest": manifest(b"{}", manifests=5, mediaType=MediaType.OCI_INDEX),
    "foreign layer with a file": manifest(
        b"{}", layers=[descriptor(b"-", LAYER, urls="file:///etc/passwd")]
    ),
}  # fmt: skip
HARMLESS = {
    "size beyond 63 bits",
    "deep field",
    "long number",
    "too many layers",
    "foreign layer with a file",
}
