"""Every endpoint of proxy and agent, asked by every kind of caller: the table in the documentation."""

from pathlib import Path

import pytest
from aiohttp import web

from support.access_table import (
    ALLOWED,
    ASKED,
    DENIED,
    DOCUMENT,
    Seen,
    callers,
    endpoints,
    guarded,
    proxy_and_agent,
    render,
    tried,
)  # fmt: skip

OPEN = {"/health", "/readiness", "/token/keys", "/v2/{rest}"}


async def test_the_table_says_what_each_caller_gets_of_each_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "AppRunner", Seen)
    async with guarded(tmp_path) as cluster:
        key = tmp_path / "data" / "token.key"
        every = endpoints(proxy_and_agent())
        found = await tried(cluster, key, every)
    assert DOCUMENT.read_text() == render(found, list(callers(key))), "run `make access-table`"
    kinds = list(callers(key))
    assert len(every) > 40
    for (service, method, path), row in found.items():
        by_kind = dict(zip(kinds, row, strict=True))
        if method == "HEAD":
            assert row == found[service, "GET", path], path
        if path in OPEN:
            assert set(row) == {ALLOWED}, path
        if path in {*OPEN, "/token"}:
            continue
        assert (by_kind["nobody"], by_kind["wrong password"], by_kind["old token"]) == (ASKED,) * 3
        assert by_kind["administrator"] == ALLOWED, path
        if "{" not in path and not path.startswith("/v2"):
            assert {by_kind["may push"], by_kind["may delete"]} == {DENIED}, path
