"""Quotas: read from a file with every mistake at once, and refused in words that name them."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Denied, Misuse
from octopull.security.globs import Glob
from octopull.services.tag_index.quotas import Ledger, Quota, Quotas, parse

FILE = b"""
quotas:
  - {name: team, repositories: ["team/**", "shared/base"], bytes: 1073741824}
  - {name: all, repositories: ["**"], bytes: 5}
"""
MIB = 1024 * 1024


def test_a_file_names_repositories_and_bytes() -> None:
    found = parse(FILE)
    assert [one.name for one in found.of("team/a/b")] == ["team", "all"]
    assert [one.name for one in found.of("shared/base")] == ["team", "all"]
    assert [one.name for one in found.of("team")] == ["all"]
    assert found.all[0].limit == 1 << 30
    assert Quotas().of("team/a") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quotas: [{name: a, repositories: ['**']}]", "bytes"),
        ("quotas: [{name: a, repositories: ['**'], bytes: -1}]", "so many bytes"),
        ("quotas: [{name: a, repositories: ['**'], bytes: 1GB}]", "bytes"),
        ("quotas: [{name: a, repositories: [], bytes: 1}]", "names its repositories"),
        ("quotas: [{name: a b, repositories: ['**'], bytes: 1}]", "letters"),
        (
            "quotas: [{name: a, repositories: [a], bytes: 1}, {name: a, repositories: [b], bytes: 1}]",
            "a name of its own",
        ),
        ("quotas: [{name: a, repositories: [''], bytes: 1}]", "not empty"),
        ("limits: []", "limits"),
        ("- a", "expected sections"),
        ("\N{SNOWMAN}", "expected sections"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        parse(text.encode())


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Misuse, match="UTF-8"):
        parse(b"\xff\xfe")


@given(st.binary(max_size=200))
def test_any_bytes_are_quotas_or_a_mistake(noise: bytes) -> None:
    for content in (noise, b"quotas: " + noise, FILE + noise):
        with contextlib.suppress(Misuse):
            parse(content)


def test_a_refusal_names_the_quota_what_is_used_and_what_would_be_added() -> None:
    quota = Quota("team", (Glob("team/**"), Glob("base")), 10 * MIB)
    words = (
        "adding 2.0 MiB to the 9.0 MiB that are used would exceed the quota team of 10.0 MiB "
        "for team/**, base"
    )
    with pytest.raises(Denied, match=re.escape(words)) as told:
        quota.check(9 * MIB, 2 * MIB)
    assert told.value.details == {"limit": "quota", "quota": "team"}
    with pytest.raises(Denied, match=r"is full: 10\.0 MiB are used"):
        quota.check(10 * MIB, 1)


def test_what_fits_exactly_or_adds_nothing_is_not_refused() -> None:
    quota = Quota("team", (Glob("**"),), 10)
    quota.check(3, 7)
    quota.check(99, 0)
    with pytest.raises(Denied):
        quota.check(3, 8)


def test_a_measurement_that_began_before_a_push_was_let_in_does_not_forget_it() -> None:
    ledger = Ledger()
    assert ledger.most is None
    ledger.admitted(5)
    mark = ledger.mark
    ledger.admitted(7)
    ledger.measured(100, mark)
    assert ledger.most == 107
    ledger.admitted(1)
    assert ledger.most == 108
    ledger.measured(20, ledger.mark)
    assert ledger.most == 20
    ledger.forget()
    assert ledger.most is None
