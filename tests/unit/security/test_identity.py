"""Names in a certificate, as the standard library shows them."""

import asyncio

import pytest

from octopull.security.identity import CertificateNames, caller_certificate, names_of


def test_every_kind_of_name_is_found_and_others_are_passed_over() -> None:
    shown = {
        "subject": ((("organizationName", "us"),), (("commonName", "proxy-1"),)),
        "subjectAltName": (
            ("DNS", "a"), ("IP Address", "::1"), ("DNS", "b"), ("URI", "x://y"),
            ("email", "a@b"), ("Registered ID", "1.2.3"),
        ),
    }  # fmt: skip
    assert names_of(shown) == CertificateNames(
        "proxy-1", ("a", "b"), ("::1",), ("x://y",), ("a@b",)
    )


def test_nobody_has_no_names() -> None:
    assert names_of({}) == CertificateNames()
    assert caller_certificate(None) is None


@pytest.mark.parametrize(("year", "proven"), [(2020, False), (9000, True)])
def test_a_certificate_that_has_ended_is_none(year: int, proven: bool) -> None:
    shown = {"subject": ((("commonName", "a"),),), "notAfter": f"Jan  5 09:34:43 {year} GMT"}
    found = caller_certificate(asyncio.Transport({"peercert": shown}))
    assert found == (CertificateNames("a") if proven else None)
