"""Limits around a store: requests at once, bytes per second, and what is counted."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from octopull.backends.deadlines import Deadlines
from octopull.backends.files import Files
from octopull.backends.throttle import Throttle
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import NotFound
from support.contents import Bytes, joined
from support.failing import Failing

BLOB = bytes(1 << 20)
RATE = 8 << 20
SEEN = 8
"""Blobs moved under ``RATE``: a second's worth."""


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    await files.put("blob", Bytes(BLOB))
    return files


def settings(**limits: int) -> BackendSettings:
    return BackendSettings(url="s3://bucket", name="throttled", **limits)  # type: ignore[arg-type]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"backend": "throttled", **labels}) or 0.0


async def test_no_more_requests_than_the_limit_are_with_the_store(files: Files) -> None:
    failing = Failing(files, hangs=True)
    throttle = Throttle(failing, settings(requests_max=2))
    asking = [asyncio.create_task(throttle.stat("blob")) for _ in range(5)]
    async with asyncio.timeout(10):
        await failing.reached.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert failing.asked == ["stat"] * 2
        failing.hangs = False
        for one in asking[:2]:
            one.cancel()
        assert [(await one).size for one in asking[2:]] == [len(BLOB)] * 3


async def test_a_reader_that_stops_gives_its_turn_back(files: Files) -> None:
    throttle = Throttle(files, settings(requests_max=1))
    async with asyncio.timeout(10):
        for _ in range(3):
            async with aclosing(throttle.get("blob")) as chunks:
                await anext(chunks)
        assert await joined(throttle.get("blob")) == BLOB


@pytest.mark.parametrize("way", ["in", "out"])
async def test_bytes_move_no_faster_than_the_limit_in_all(files: Files, way: str) -> None:
    throttle = Throttle(files, settings(**{f"{way}_bytes_per_s": RATE}))
    begun_s = time.monotonic()
    if way == "in":
        await asyncio.gather(*(joined(throttle.get("blob")) for _ in range(SEEN)))
    else:
        await asyncio.gather(*(throttle.put(f"at/{at}", Bytes(BLOB)) for at in range(SEEN)))
    # The first burst is free (runtime/bandwidth.py).
    assert time.monotonic() - begun_s > 0.9 * (SEEN * len(BLOB) / RATE - 0.05)


async def test_a_limit_is_no_silence_of_the_store(files: Files) -> None:
    told = BackendSettings(
        url="s3://bucket", name="slow", timeout_s=1.2, attempts_max=1, out_bytes_per_s=640 << 10,
        in_bytes_per_s=640 << 10,
    )  # fmt: skip
    throttle = Throttle(Deadlines(files, told), told)
    await throttle.put("slow", Bytes(BLOB))
    assert await joined(throttle.get("slow")) == BLOB


async def test_requests_and_bytes_are_counted(files: Files) -> None:
    throttle = Throttle(files, settings())
    requests, received = "octopull_backend_requests_total", "octopull_backend_received_bytes_total"
    sent = "octopull_backend_sent_bytes_total"
    before = [
        counted(requests, operation="get", outcome="done"),
        counted(requests, operation="stat", outcome="not found"),
        counted(received), counted(sent),
    ]  # fmt: skip
    await joined(throttle.get("blob"))
    await throttle.put("new", Bytes(b"12345"))
    with pytest.raises(NotFound):
        await throttle.stat("none")
    after = [
        counted(requests, operation="get", outcome="done"),
        counted(requests, operation="stat", outcome="not found"),
        counted(received), counted(sent),
    ]  # fmt: skip
    assert [later - one for one, later in zip(before, after, strict=True)] == [1, 1, len(BLOB), 5]
