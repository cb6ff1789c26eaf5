"""Clients that lie, stammer and vanish: they get a 4xx or a closed connection, and leave nothing.

What hypothesis makes up, beside what has been seen to break servers.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from octopull.cli.cluster import Cluster, Ports, running
from octopull.oci.manifests import MediaType
from support.cluster import content
from support.hostile import BOMBS, HARMLESS, HEAD, MALFORMED, NOWHERE, UPLOADS
from support.raw import break_off, exchange, first_line, status_of
from support.registry import LAYER, Answer, Registry, descriptor, digest_of, manifest
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOB = content(10_000, 1)
PUSHED = digest_of(BLOB)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(data: Path) -> AsyncIterator[Cluster]:
    async with running(data, 1, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(cluster: Cluster, session: aiohttp.ClientSession) -> Registry:
    one = Registry(session, cluster.proxy.address)
    await one.push_blob(BLOB, "hostile")
    await one.push_image("hostile", "good")
    return one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(proxy: Registry, cluster: Cluster, session: aiohttp.ClientSession) -> Registry:
    return Registry(session, cluster.agents[0].address)


@pytest.fixture(scope="module")
def origin(cluster: Cluster, data: Path) -> Path:
    return data / "origin"


def stored(origin: Path) -> set[Path]:
    """Every file of a blob or of an upload session."""
    folders = (origin / "blobs", origin / "uploads")
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def nothing_stored(proxy: Registry, origin: Path) -> Iterator[None]:
    """Whatever the test sends, the origin's folders are as before."""
    before = stored(origin)
    yield
    assert stored(origin) == before


def sessions(origin: Path) -> set[str]:
    """The upload sessions there are."""
    return {path.name for path in (origin / "uploads").iterdir()}


async def until_as_before(origin: Path, before: set[str]) -> None:
    """Until the sessions there are were there ``before``: what breaks off may take a moment."""

    async def none_left() -> bool:
        return sessions(origin) <= before

    await until(none_left, 10)


def assert_refused(answer: Answer, *statuses: int) -> None:
    assert 400 <= answer.status < 500, answer
    assert not statuses or answer.status in statuses, answer
    assert b"Traceback" not in answer.body
    assert answer.body == b"" or answer.json["errors"][0]["code"]


def assert_sound(answer: Answer) -> None:
    """Served or refused, but nothing broke."""
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert_refused(answer)


# Paths.

segments = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"..", b".", b"../../etc/passwd", b"a/b", b"%2e%2e", b"\0", b"\r\nX-Evil: 1", b"sha256:",
         b"sha256:" + b"0" * 64, b"sha512:" + b"f" * 128, b"_catalog", b"\xff\xfe", b"a" * 300]
    ),
)  # fmt: skip


@given(name=segments, kind=st.sampled_from(["manifests", "blobs", "referrers", "tags", "x"]),
       last=segments, method=st.sampled_from(["GET", "HEAD", "DELETE", "POST", "PATCH"]))  # fmt: skip
async def test_no_path_breaks_a_server(
    proxy: Registry, agent: Registry, name: bytes, kind: str, last: bytes, method: str
) -> None:
    for registry in (proxy, agent):
        path = f"/v2/{quote(name, safe='/')}/{kind}/{quote(last, safe='/')}"
        answer = await registry(method, path)
        assert_sound(answer)
        assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    "token",
    ["x", "..", "..%2f..%2fpasswd", "." + "0" * 32, "a" * 79, "%00", "é", "00.11", "0.%2e%2e",
     "000000000000." + "0" * 32, "a.b.c", "a" * 5000],
)  # fmt: skip
async def test_no_upload_session_is_made_up(
    proxy: Registry, nothing_stored: None, token: str
) -> None:
    path = f"{UPLOADS}{quote(token, safe='%')}"
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await proxy(method, f"{path}?digest={NOWHERE}", b"x")
        assert_refused(answer, 400, 404)


# Headers.

values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60
) | st.from_regex(r"(bytes|items)[= ]?[0-9]{0,25}-[0-9]{0,25}(,[0-9]*-)?", fullmatch=True)


@given(value=values)
async def test_any_range_is_served_or_refused(proxy: Registry, agent: Registry, value: str) -> None:
    for registry in (proxy, agent):
        answer = await registry("GET", f"/v2/hostile/blobs/{PUSHED}", Range=value)
        assert answer.status in {200, 206, 416}
        if answer.status == 200:
            assert answer.body == BLOB
        elif answer.status == 206:
            bounds = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")[0]
            start, end = map(int, bounds.split("-"))
            assert answer.body == BLOB[start : end + 1]


@given(name=st.sampled_from(["If-None-Match", "Accept", "Content-Type", "Accept-Encoding",
                             "X-Forwarded-For", "Authorization", "Cookie", "If-Range"]),
       value=values)  # fmt: skip
async def test_no_header_breaks_a_read(
    proxy: Registry, agent: Registry, name: str, value: str
) -> None:
    for registry in (proxy, agent):
        for path in ("manifests/good", f"blobs/{PUSHED}", "tags/list"):
            answer = await registry("GET", f"/v2/hostile/{path}", **{name: value})
            assert answer.status in {200, 304}


@given(value=values)
async def test_any_content_range_fits_or_is_416(proxy: Registry, value: str) -> None:
    at = (await proxy("POST", UPLOADS)).headers["Location"]
    answer = await proxy("PATCH", at, b"abc", Content_Range=value)
    assert answer.status in {202, 416}
    held = (await proxy("GET", at)).headers["Range"]
    assert held == ("0-2" if answer.status == 202 else "0-0")
    assert (await proxy("DELETE", at)).status == 204


@given(n=st.text(max_size=20), last=st.text(max_size=300), kind=st.text(max_size=300))
async def test_no_query_breaks_a_listing(
    proxy: Registry, agent: Registry, n: str, last: str, kind: str
) -> None:
    def encoded(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe="")

    query = f"n={encoded(n)}&last={encoded(last)}&artifactType={encoded(kind)}"
    for registry in (proxy, agent):
        for path in ("hostile/tags/list", "_catalog", f"hostile/referrers/{PUSHED}"):
            assert_sound(await registry("GET", f"/v2/{path}?{query}"))


async def test_a_link_carries_no_header_of_the_client(proxy: Registry, agent: Registry) -> None:
    await proxy.push_image("hostile", "also")
    for registry in (proxy, agent):
        for query in ("n=1&last=a%0d%0aX-Evil:%201", "n=1&artifactType=%0d%0aX-Evil:%201"):
            for path in ("hostile/tags/list", f"hostile/referrers/{PUSHED}"):
                answer = await registry("GET", f"/v2/{path}?{query}")
                assert answer.status in {200, 400}
                assert "X-Evil" not in answer.headers


# Bytes that are no HTTP, or two requests at once.


@pytest.mark.parametrize("number", range(len(MALFORMED)))
async def test_malformed_requests_are_refused_or_cut(
    proxy: Registry, agent: Registry, nothing_stored: None, number: int
) -> None:
    for registry in (proxy, agent):
        answer = await exchange(registry.address, MALFORMED[number])
        assert status_of(answer) in {0, *range(400, 500)}, answer[:200]
        assert b"Traceback" not in answer
        assert (await registry("GET", "/v2/")).status == 200


@given(noise=st.binary(max_size=200))
async def test_noise_does_no_harm(proxy: Registry, noise: bytes) -> None:
    request = b"GET /v2/ HTTP/1.1\r\n" + HEAD + noise.replace(b"\n", b"") + b"\r\n\r\n"
    answer = await exchange(proxy.address, request)
    assert status_of(answer) in {0, 200, *range(400, 500)}
    assert (await proxy("GET", "/v2/")).status == 200


@pytest.mark.parametrize("method", ["FOO", "TRACE", "CONNECT", "OPTIONS", "get", "PROPFIND"])
async def test_methods_that_nobody_offers(proxy: Registry, agent: Registry, method: str) -> None:
    for registry in (proxy, agent):
        request = f"{method} /v2/hostile/manifests/good HTTP/1.1\r\n".encode() + HEAD + b"\r\n"
        assert status_of(await exchange(registry.address, request)) in {400, 404, 405}


# Manifests.

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20)
documents = st.recursive(
    scalars | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
FIELDS = (
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "subject",
    "artifactType",
    "annotations",
)


async def assert_kept_or_refused(proxy: Registry, document: bytes) -> None:
    answer = await proxy("PUT", f"/v2/hostile/manifests/{digest_of(document)}", document)
    assert_sound(answer)
    if answer.status == 201:
        kept = await proxy("GET", answer.headers["Location"])
        assert (kept.status, kept.body) == (200, document)
        about = json.loads(document).get("subject")
        if about is not None:
            assert (await proxy("GET", f"/v2/hostile/referrers/{about['digest']}")).status == 200


@given(field=st.sampled_from(FIELDS), value=documents)
async def test_a_manifest_with_any_field_is_kept_or_refused(
    proxy: Registry, field: str, value: Any
) -> None:
    await assert_kept_or_refused(proxy, manifest(b"{}", **{field: value}))


@given(field=st.sampled_from(["mediaType", "digest", "size", "urls", "annotations", "data"]),
       value=documents, where=st.sampled_from(["config", "layers", "subject"]))  # fmt: skip
async def test_a_manifest_with_any_descriptor_is_kept_or_refused(
    proxy: Registry, field: str, value: Any, where: str
) -> None:
    one = {**descriptor(b"{}", LAYER), field: value}
    await assert_kept_or_refused(
        proxy, manifest(b"{}", **{where: [one] if where == "layers" else one})
    )


@given(document=documents)
async def test_json_that_is_no_manifest_is_refused(proxy: Registry, document: Any) -> None:
    answer = await proxy("PUT", "/v2/hostile/manifests/bad", json.dumps(document).encode())
    assert_refused(answer, 400)


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_do_not_go_off(
    proxy: Registry, agent: Registry, origin: Path, name: str
) -> None:
    document = BOMBS[name]
    for media_type in (MediaType.OCI_MANIFEST, MediaType.OCI_INDEX):
        before = stored(origin)
        answer = await proxy("PUT", "/v2/hostile/manifests/bomb", document, Content_Type=media_type)
        if answer.status != 201:
            assert_refused(answer, 400, 413)
            assert stored(origin) == before
        else:
            assert name in HARMLESS
            for registry in (proxy, agent):
                assert (await registry("GET", "/v2/hostile/manifests/bomb")).body == document
    assert (await proxy("GET", "/v2/")).status == 200


@pytest.mark.parametrize("told", [True, False])
async def test_a_manifest_of_100_megabytes_is_413(
    proxy: Registry, nothing_stored: None, told: bool
) -> None:
    size, step = 100_000_000, 1_000_000

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // step):
            yield b" " * step

    headers = {"Content-Length": str(size)} if told else {}
    try:
        answer = await proxy("PUT", "/v2/hostile/manifests/huge", body(), **headers)
    except (aiohttp.ClientError, ConnectionError):
        pass  # Cut off before the answer could be read: as good.
    else:
        assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert (await proxy("GET", "/v2/hostile/manifests/huge")).status == 404


async def test_a_manifest_beyond_the_limit_is_not_read_to_its_end(
    proxy: Registry, nothing_stored: None
) -> None:
    head = b"PUT /v2/hostile/manifests/huge HTTP/1.1\r\n" + HEAD
    answer = await first_line(
        proxy.address, head + b"Content-Length: 100000000\r\n\r\n" + b" " * 10_000_000
    )
    assert status_of(answer) == 413


async def test_a_compressed_manifest_does_not_blow_up(
    proxy: Registry, nothing_stored: None
) -> None:
    bomb = gzip.compress(b" " * 50_000_000, 9)
    assert len(bomb) < 100_000
    answer = await proxy("PUT", "/v2/hostile/manifests/x", bomb, Content_Encoding="gzip")
    assert_refused(answer, 400, 413, 415)


async def test_a_body_with_a_content_encoding_keeps_its_bytes_or_is_refused(
    proxy: Registry, origin: Path
) -> None:
    before, plain = sessions(origin), b"compressible " * 1000
    packed = gzip.compress(plain)
    for blob in (plain, packed):
        path = f"{UPLOADS}?digest={digest_of(blob)}"
        answer = await proxy("POST", path, packed, Content_Encoding="gzip")
        if answer.status == 201:
            assert (await proxy("GET", answer.headers["Location"])).body == blob
        else:
            assert_refused(answer)
    await until_as_before(origin, before)


# Uploads that break off.


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_post_that_breaks_off_leaves_nothing(proxy: Registry, origin: Path) -> None:
    before = sessions(origin)
    head = f"POST {UPLOADS}?digest={NOWHERE} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
    for sent in (0, 1, 70_000, 2_000_000):
        await break_off(proxy.address, head.encode() + b"x" * sent)
    await until_as_before(origin, before)


async def test_a_patch_that_breaks_off_can_be_resumed_or_cancelled(
    proxy: Registry, origin: Path
) -> None:
    before = sessions(origin)
    at = (await proxy("POST", UPLOADS)).headers["Location"]
    head = f"PATCH {at} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n".encode()
    await break_off(proxy.address, head + BLOB[:5000])
    held = int((await proxy("GET", at)).headers["Range"].partition("-")[2])
    held = held + 1 if held else 0
    assert held <= 5000
    answer = await proxy("PATCH", at, BLOB[held:], Content_Range=f"{held}-9999")
    while answer.status == 416:
        # What broke off was still being written.
        held = int(answer.headers["Range"].partition("-")[2]) + 1
        answer = await proxy("PATCH", at, BLOB[held:], Content_Range=f"{held}-9999")
    assert (await proxy("PUT", f"{at}?digest={PUSHED}")).status == 201
    await until_as_before(origin, before)


async def test_many_broken_uploads_leak_neither_files_nor_sessions(
    proxy: Registry, agent: Registry, origin: Path
) -> None:
    async def wave(count: int) -> None:
        for _ in range(count):
            at = (await proxy("POST", UPLOADS)).headers["Location"]
            head = f"PATCH {at} HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n".encode()
            await break_off(proxy.address, head + b"x" * 100_000)
            wrong = await proxy("PUT", f"{at}?digest={NOWHERE}")
            assert_refused(wrong, 400, 404)
            path = f"/v2/hostile/blobs/{PUSHED}"
            await break_off(agent.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await break_off(proxy.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert_refused(await agent("GET", f"/v2/hostile/blobs/{NOWHERE}"), 404)

    before = sessions(origin)
    await wave(20)
    await until_as_before(origin, before)
    files = open_files()
    await wave(60)
    await until_as_before(origin, before)

    async def closed() -> bool:
        return open_files() <= files + 10

    await until(closed, 10)


async def test_uploads_are_cancelled_while_they_are_written(proxy: Registry, origin: Path) -> None:
    async def slowly(go_on: asyncio.Event) -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        await go_on.wait()
        yield b"x" * 100_000

    before = sessions(origin)
    for method in ("PATCH", "PUT"):
        at = (await proxy("POST", UPLOADS)).headers["Location"]
        go_on = asyncio.Event()
        path = at if method == "PATCH" else f"{at}?digest={NOWHERE}"
        under_way = asyncio.create_task(proxy(method, path, slowly(go_on)))
        assert (await proxy("DELETE", at)).status == 204
        go_on.set()
        assert_refused(await under_way, 404)
        assert (await proxy("GET", at)).status == 404
    await until_as_before(origin, before)


async def test_two_clients_write_one_session_at_once(proxy: Registry, origin: Path) -> None:
    before = sessions(origin)
    at = (await proxy("POST", UPLOADS)).headers["Location"]
    answers = await asyncio.gather(
        *(proxy("PATCH", at, BLOB, Content_Range="0-9999") for _ in range(8))
    )
    assert sorted(answer.status for answer in answers) == [202] + [416] * 7
    answers = await asyncio.gather(*(proxy("PUT", f"{at}?digest={PUSHED}") for _ in range(8)))
    assert {answer.status for answer in answers} <= {201, 404}
    assert (await proxy("GET", f"/v2/hostile/blobs/{PUSHED}")).body == BLOB
    await until_as_before(origin, before)
