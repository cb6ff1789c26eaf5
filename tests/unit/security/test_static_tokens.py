"""Tokens that live long: whose they are, and until when."""

import contextlib
import datetime as dt
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse
from octopull.security import static_tokens

NOON = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
TOKEN = "0123456789abcdef0123456789abcdef"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()


def file(**more: str) -> bytes:
    words = "".join(f", {name}: '{value}'" for name, value in more.items())
    return f"tokens:\n- {{name: ci, sha256: '{HASH}', groups: [builders]{words}}}".encode()


def test_a_token_is_its_bearers_and_nothing_else_is() -> None:
    found = static_tokens.parse(file())
    caller = found.caller(TOKEN, NOON)
    assert caller is not None
    assert (caller.name, sorted(caller.groups)) == ("ci", ["builders"])
    for other in ("", TOKEN[:-1], TOKEN + "0", HASH):
        assert found.caller(other, NOON) is None


def test_a_token_ends_with_the_day_before_it_expires() -> None:
    assert static_tokens.parse(file(expires="2026-12-01")).caller(TOKEN, NOON) is not None
    assert static_tokens.parse(file(expires="2026-11-30")).caller(TOKEN, NOON) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"a: b", b"tokens: [{name: ci}]", b"tokens: [{name: ci, sha256: abc}]", b"[", b"\xff",
     file() + b"\n" + file().partition(b"\n")[2], file(expires="soon")],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(content: bytes) -> None:
    with pytest.raises(Misuse):
        static_tokens.parse(content)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_file_is_one_of_tokens_or_a_misuse(content: bytes) -> None:
    with contextlib.suppress(Misuse):
        static_tokens.parse(content)
