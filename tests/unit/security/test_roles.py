"""Roles in certificates: written and read are inverse, and noise gives none."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.security.identity import CertificateNames
from octopull.security.lifetimes import Stage, left_words, stage
from octopull.security.roles import Role, roles_of, uri

names = st.text("abcxyzABC019.:_*@-", min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)


@given(st.sampled_from(Role), names)
def test_what_was_written_is_read(role: Role, name: str) -> None:
    assert roles_of(CertificateNames(uris=(uri(role, name),))) == {role}


@given(st.lists(st.one_of(
    st.text(max_size=40),
    st.builds("octopull://{}/{}".format, st.text("abgentros-", max_size=12), st.text(max_size=5)),
)))  # fmt: skip
def test_noise_gives_no_role_that_it_does_not_name(uris: list[str]) -> None:
    for role in roles_of(CertificateNames(uris=tuple(uris))):
        assert any(one.startswith(f"octopull://{role}/") for one in uris)


def test_other_uris_and_no_certificate_give_no_role() -> None:
    uris = ("spiffe://cluster/origin/a", "octopull://origin/", "octopull://owner/a", "octopull://a")
    assert roles_of(CertificateNames(uris=uris)) == frozenset()
    assert roles_of(None) == frozenset()


def test_the_end_of_a_certificate_is_told_in_words() -> None:
    told = {left_s: (stage(left_s), left_words(left_s)) for left_s in (
        90 * 86400.0, 14 * 86400.0, 86400.0, 3599.0, -60.0, -200_000.0)}  # fmt: skip
    assert told == {
        90 * 86400.0: (Stage.FINE, "expires in 90 days"),
        14 * 86400.0: (Stage.SOON, "expires in 14 days"),
        86400.0: (Stage.URGENT, "expires in 1 day"),
        3599.0: (Stage.URGENT, "expires in 59 minutes"),
        -60.0: (Stage.OVER, "expired 1 minute ago"),
        -200_000.0: (Stage.OVER, "expired 2 days ago"),
    }
