import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel import names
from octopull.oci import challenges
from octopull.oci.challenges import Challenge
from octopull.oci.upstreams import canonical, split

UPSTREAMS = frozenset({"docker.io", "quay.io"})
PART = st.from_regex(r"[a-z0-9]+(?:[._-][a-z0-9]+)?", fullmatch=True)
REPOSITORY = st.lists(PART, min_size=1, max_size=3).map("/".join)
WORD = st.text("abcXYZ019-_.", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("repository", "ns", "found"),
    [
        ("library/nginx", "docker.io", "docker.io/library/nginx"),
        ("nginx", "docker.io", "docker.io/library/nginx"),
        ("docker.io/nginx", None, "docker.io/library/nginx"),
        ("docker.io/me/app", None, "docker.io/me/app"),
        ("docker.io/me/app", "quay.io", "quay.io/docker.io/me/app"),
        ("app", "quay.io", "quay.io/app"),
        ("quay.io/app", "elsewhere.io", "quay.io/app"),
        ("app", "elsewhere.io", "app"),
        ("app", "", "app"),
        ("docker.io", None, "docker.io"),
        ("docker.io/", None, "docker.io/"),
        ("team/app", None, "team/app"),
    ],
)
def test_ns_or_the_name_says_whose_a_repository_is(
    repository: str, ns: str | None, found: str
) -> None:
    assert canonical(repository, ns, UPSTREAMS) == found


@given(REPOSITORY, st.sampled_from(sorted(UPSTREAMS)))
def test_a_canonical_name_is_a_repository_stays_and_leads_back(repository: str, ns: str) -> None:
    name = canonical(repository, ns, UPSTREAMS)
    assert names.repository(name) == name
    assert canonical(name, None, UPSTREAMS) == name
    found = split(name, UPSTREAMS)
    assert found is not None
    upstream, own = found
    assert upstream == ns
    assert own in {repository, f"library/{repository}"}


@given(REPOSITORY, st.none() | st.text(max_size=8))
def test_without_upstreams_every_repository_is_the_clusters_own(
    repository: str, ns: str | None
) -> None:
    assert canonical(repository, ns, frozenset()) == repository
    assert split(repository, frozenset()) is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://a.b/t",service="s",scope="repository:x/y:pull,push"',
         [Challenge("bearer", {"realm": "https://a.b/t", "service": "s",
                               "scope": "repository:x/y:pull,push"})]),
        ('Basic realm="x", BEARER Realm=y , error="a\\"b"',
         [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "error": 'a"b'})]),
        ("Negotiate abc==, Basic", [Challenge("negotiate", {}), Challenge("basic", {})]),
        ("Negotiate", [Challenge("negotiate", {})]),
        ('realm="x"', []),
        ('Bearer realm="open', [Challenge("bearer", {})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, found: list[Challenge]) -> None:
    assert challenges.parse(header) == found


@given(st.lists(st.tuples(WORD, st.dictionaries(WORD.map(str.lower), st.text(max_size=20), max_size=4)),
                max_size=4))  # fmt: skip
def test_challenges_that_were_written_are_read_back(
    written: list[tuple[str, dict[str, str]]],
) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quote(value)}" for name, value in parameters.items())
        for scheme, parameters in written
    )
    assert challenges.parse(header) == [
        Challenge(scheme.lower(), parameters) for scheme, parameters in written
    ]


@given(st.text(max_size=300))
def test_any_header_is_some_list_of_challenges(header: str) -> None:
    for one in challenges.parse(header):
        assert one.scheme


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), printable, min_size=1))
def test_challenges_of_our_own_are_read_back(parameters: dict[str, str]) -> None:
    told = Challenge("bearer", parameters)
    assert challenges.parse(str(told)) == [told]


def test_a_challenge_stays_on_one_line() -> None:
    assert (
        str(Challenge("basic", {"realm": "a\r\nSet-Cookie: b"})) == 'Basic realm="a??Set-Cookie: b"'
    )
