"""The header ``Authorization``: understood, or refused, and never shown."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Unauthenticated
from octopull.security import credentials
from octopull.security.credentials import Bearer, Login


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@given(st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), max_size=20),
       st.text(st.characters(exclude_categories=["Cs"]), max_size=40))  # fmt: skip
def test_a_login_comes_as_it_was_sent(user: str, password: str) -> None:
    expected = Login(user, password) if user or password else None
    assert credentials.parse(basic(user, password)) == expected


def test_a_token_comes_as_it_was_sent() -> None:
    assert credentials.parse("Bearer a.b-c_d==") == Bearer("a.b-c_d==")
    assert credentials.parse("bearer abc") == Bearer("abc")
    assert credentials.parse(None) is None


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic YWJj", "Digest abc", "Bearer a b", "Basic /w=="]
)
def test_what_can_not_be_understood_is_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        credentials.parse(header)


@given(st.text(max_size=100))
def test_any_header_is_understood_or_refused(header: str) -> None:
    for text in (header, f"Basic {header}", f"Bearer {header}"):
        with contextlib.suppress(Unauthenticated):
            credentials.parse(text)


def test_nothing_that_is_printed_shows_a_secret() -> None:
    for one in (Login("alice", "hunter2"), Bearer("hunter2")):
        assert "hunter2" not in repr(one)
