import contextlib
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from octopull.backends.guard import Guard
from octopull.backends.requests import retry_after_s
from octopull.kernel.errors import Unavailable

INSIDE = ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0",
          "::", "fd00:ec2::254", "100.100.100.200", "224.0.0.1"]  # fmt: skip


def url(host: str) -> URL:
    return URL(f"https://[{host}]/x" if ":" in host else f"https://{host}/x")


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_inside_is_not_for_an_upstream_of_the_outside(host: str) -> None:
    assert not Guard("registry.example").admits(url(host))
    assert Guard(url(host).host or "").admits(url(host))


def test_the_outside_and_private_networks_are() -> None:
    for host in ("registry.example", "1.2.3.4", "10.0.0.1", "2001:db8::1"):
        assert Guard("registry.example").admits(url(host))


async def test_names_that_lead_inside_are_refused_when_they_are_resolved() -> None:
    for name in ("localhost", "127.1", "2130706433"):
        with pytest.raises(OSError, match="may not send us"):
            await Guard("registry.example").resolve(name, 80, socket.AF_UNSPEC)
        for home in (name, "127.0.0.1"):
            found = await Guard(home).resolve(name, 80, socket.AF_UNSPEC)
            assert {one["host"] for one in found} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("home", "location", "target"),
    [
        ("https://a.example/v2/x", "/y?s=%2F%20", "https://a.example/y?s=%2F%20"),
        ("https://a.example/v2/x", "https://cdn.example/y%2Fz", "https://cdn.example/y%2Fz"),
        ("https://a.example/v2/x", "//cdn.example/y", "https://cdn.example/y"),
        ("http://a.example/v2/x", "https://cdn.example/y", "https://cdn.example/y"),
        ("https://a.example/v2/x", "http://a.example/v2/x", None),
        ("https://a.example/v2/x", "https://user:p@cdn.example/y", None),
        ("https://a.example/v2/x", "ftp://cdn.example/y", None),
        ("https://a.example/v2/x", "https://169.254.169.254/", None),
        ("https://a.example/v2/x", "https://[nonsense/", None),
        ("https://a.example/v2/x", "https://a.example:99999/", None),
        ("https://a.example/v2/x", "", None),
        ("https://a.example/v2/x", None, None),
    ],
)
def test_redirects_are_followed_to_the_letter_or_refused(
    home: str, location: str | None, target: str | None
) -> None:
    guard, start = Guard("a.example"), URL(home)
    if target is None:
        with pytest.raises(Unavailable):
            guard.redirected(start, location)
    else:
        assert str(guard.redirected(start, location)) == target


@given(st.text(max_size=60))
def test_no_location_makes_more_than_a_fault(location: str) -> None:
    with contextlib.suppress(Unavailable):
        target = Guard("a.example").redirected(URL("https://a.example/x"), location)
        assert target.scheme == "https"


def test_secrets_travel_over_tls_or_to_the_upstream_itself() -> None:
    guard = Guard("a.example")
    for told in ("https://auth.example/t", "http://a.example/t", "https://a.example/t"):
        assert guard.admits_secrets(URL(told))
    for told in ("http://auth.example/t", "ftp://a.example", "https://127.0.0.1/t", "", "t"):
        assert not guard.admits_secrets(URL(told))
    for told in ("http://127.0.0.1:5/t", "http://localhost:5/t"):
        assert Guard("127.0.0.1").admits_secrets(URL(told))


def test_pauses_are_seconds_or_dates() -> None:
    assert retry_after_s(" 12 ") == 12
    assert retry_after_s("9" * 400) == 999_999_999
    soon = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None
    assert 50 < soon <= 60
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nothing in ("", "soon", "-1", "1.5", "²"):
        assert retry_after_s(nothing) is None


@given(st.text(max_size=60))
def test_any_pause_is_a_number_or_none(header: str) -> None:
    found = retry_after_s(header)
    assert found is None or found >= 0
