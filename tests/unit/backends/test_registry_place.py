import pytest

from octopull.backends.authorization import Purpose, scope_of
from octopull.backends.registry_place import place_of_backend, place_of_upstream
from octopull.config.backends import BackendSettings, TagBackendSettings
from octopull.config.upstreams import UpstreamSettings
from octopull.kernel.errors import InvalidName, Misuse


@pytest.mark.parametrize(
    ("url", "address", "repository"),
    [
        ("registry+https://host", "https://host", "team/app"),
        ("registry+http://host:5000/", "http://host:5000", "team/app"),
        ("registry+https://host/a/b-c/", "https://host", "a/b-c/team/app"),
        ("registry+http://[::1]:5000/a", "http://[::1]:5000", "a/team/app"),
    ],
)
def test_a_url_names_a_host_and_what_repositories_begin_with(
    url: str, address: str, repository: str
) -> None:
    for settings in (BackendSettings(url=url), TagBackendSettings(url=url)):
        place = place_of_backend(settings)
        assert (place.address, place.repository("team/app")) == (address, repository)
        assert place.name == url


def test_repositories_keep_to_the_grammar() -> None:
    place = place_of_backend(BackendSettings(url="registry+https://host/mirror"))
    for wrong in ("Upper", "../x", "a" * 255):
        with pytest.raises(InvalidName):
            place.repository(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "registry+https://host/Not-A-Name"},
        {"url": "registry+https://host/../x"},
        {"url": "registry+https://host/a?b"},
        {"url": "registry+https://host:99999/a"},
        {"url": "registry+https://:5000/a"},
        {"options": {"unknown": "x"}},
        {"options": {"chunk_bytes": "1"}},
        {"options": {"chunk_bytes": "many"}},
        {"options": {"username_variable": "X"}},
        {"credentials": "x", "options": {"credential_helper": "y"}},
        {"shadow": BackendSettings(url="file:///x")},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    given: dict[str, object] = {"url": "registry+https://host", **wrong}
    with pytest.raises(Misuse):
        place_of_backend(BackendSettings(**given))  # type: ignore[arg-type]


def test_options_and_limits_are_kept() -> None:
    options = {
        "username_variable": "USER", "password_variable": "PASSWORD", "chunk_bytes": "1000000",
    }  # fmt: skip
    place = place_of_backend(
        BackendSettings(
            url="registry+https://host", options=options, in_bytes_per_s=1, out_bytes_per_s=2,
            requests_max=3, attempts_max=4, timeout_s=5,
        )
    )  # fmt: skip
    assert (place.username_variable, place.password_variable) == ("USER", "PASSWORD")
    assert (place.chunk_bytes, place.in_bytes_per_s, place.out_bytes_per_s) == (1_000_000, 1, 2)
    assert (place.requests_max, place.attempts_max, place.timeout_s) == (3, 4, 5)


def test_an_upstream_keeps_its_names() -> None:
    place = place_of_upstream(UpstreamSettings(name="docker.io"))
    assert (place.name, place.host) == ("docker.io", "registry-1.docker.io")
    assert place.repository("library/nginx") == "library/nginx"


@pytest.mark.parametrize(
    ("told", "purpose", "scope"),
    [
        ("", Purpose.PULL, "repository:pusher/x:pull"),
        ("repository:pusher/x:pull", Purpose.PULL, "repository:pusher/x:pull"),
        ("repository:pusher/x:pull", Purpose.PUSH, "repository:pusher/x:pull,push"),
        ("repository:pusher/x:push,pull", Purpose.PUSH, "repository:pusher/x:push,pull"),
        ("repository:pusher/x:pull,push", Purpose.DELETE, "repository:pusher/x:delete"),
        ("repository:pusher/x:*", Purpose.DELETE, "repository:pusher/x:*"),
        ("repository:y:pull repository:pusher/x:delete", Purpose.DELETE,
         "repository:y:pull repository:pusher/x:delete"),
        ("nonsense", Purpose.PULL, "repository:pusher/x:pull"),
    ],
)  # fmt: skip
def test_a_token_is_asked_for_as_the_registry_says_if_that_is_enough(
    told: str, purpose: Purpose, scope: str
) -> None:
    assert scope_of(told, "pusher/x", purpose) == scope
