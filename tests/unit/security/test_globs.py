"""Patterns agree with a regular expression, and take no time that a name could stretch."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse
from octopull.security.globs import GLOB_CHARS_MAX, Glob


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("team/app", "team/app", True),
        ("team/app", "team/apps", False),
        ("team/*", "team/app", True),
        ("team/*", "team/app/debug", False),
        ("team/*", "team/", True),
        ("team/**", "team/app/debug", True),
        ("team/**", "team", False),
        ("team/**", "teams/app", False),
        ("**", "anything/at/all", True),
        ("**/debug", "a/b/debug", True),
        ("*-ci", "build-ci", True),
        ("*.build.internal", "a.b.build.internal", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "axx/byyc", False),
        ("te[a]m", "te[a]m", True),
        ("te[a]m", "team", False),
    ],
)
def test_a_star_stops_at_slashes_and_two_do_not(pattern: str, name: str, expected: bool) -> None:
    assert Glob(pattern).matches(name) is expected


parts = st.text("ab/*", max_size=12)


@given(parts.filter(bool), st.text("ab/", max_size=16))
def test_patterns_mean_what_a_regular_expression_means(pattern: str, name: str) -> None:
    words = [
        {"**": ".*", "*": "[^/]*"}.get(step, re.escape(step))
        for step in re.findall(r"\*\*|.", pattern)
    ]
    assert Glob(pattern).matches(name) == bool(re.fullmatch("".join(words), name))


def test_no_pattern_takes_long_for_any_name() -> None:
    glob = Glob("*a" * (GLOB_CHARS_MAX // 2 - 1) + "b")
    started = time.process_time()
    assert not glob.matches("a" * 255)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["", "a" * (GLOB_CHARS_MAX + 1)])
def test_a_pattern_is_not_empty_and_not_too_long(text: str) -> None:
    with pytest.raises(Misuse):
        Glob(text)
