"""A host announces itself: by a name of its certificate, or from where it calls."""

import pytest

from octopull.config.announcing import Announced
from octopull.config.services import TrackerConfig
from octopull.kernel.errors import Denied, Misuse
from octopull.security.identity import CertificateNames
from octopull.services.tracker.announced import check_own

NAMES = CertificateNames(
    common="host-9.example", dns=("host-7.example", "*.rack.example"),
    addresses=("10.0.0.7", "fd00::7"), uris=("octopull://agent/host-7.example",),
)  # fmt: skip


@pytest.mark.parametrize(
    "host",
    ["host-7.example", "HOST-7.example.", "a.rack.example", "10.0.0.7", "fd00:0:0::0007",
     "::ffff:10.0.0.7", "192.168.1.1", "::ffff:192.168.1.1"],
)  # fmt: skip
def test_what_the_certificate_names_and_where_it_calls_from_is_its_own(host: str) -> None:
    check_own(host, NAMES, "192.168.1.1")


@pytest.mark.parametrize(
    "host",
    ["host-8.example", "example", "a.b.rack.example", "rack.example", ".", "10.0.0.8",
     "fd00::8", "host-9.example", "192.168.1.10", "", "x.rack.example.org", "7.example"],
)  # fmt: skip
def test_what_is_anothers_is_denied(host: str) -> None:
    with pytest.raises(Denied):
        check_own(host, NAMES, "192.168.1.1")


def test_who_shows_no_certificate_has_where_it_calls_from_alone() -> None:
    check_own("fe80::1", None, "fe80::1%eth0")
    for host, source in (("host-7.example", "10.0.0.7"), ("10.0.0.7", ""), ("", "")):
        with pytest.raises(Denied):
            check_own(host, None, source)


def test_nothing_is_proven_where_nobody_shows_a_certificate() -> None:
    with pytest.raises(Misuse, match="needs tls"):
        TrackerConfig(origins=["o:5010"], announced=Announced.OWN)
