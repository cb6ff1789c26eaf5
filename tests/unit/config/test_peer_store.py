import pytest

from octopull.config.load import load
from octopull.config.peer_store import PeerStoreSettings
from octopull.config.services import TrackerConfig
from octopull.kernel.errors import Misuse

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "", "redis://cache", "redis://cache:6379", "redis://cache:6379/3", "rediss://cache:6380/0",
        "redis://[::1]:6379/0", "unix:///run/redis/redis.sock", "unix:///run/redis.sock?db=2",
    ],
)  # fmt: skip
def test_addresses_of_servers_are_taken(url: str) -> None:
    assert PeerStoreSettings(url=url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"redis://user:{SECRET}@cache/0", "credentials file"),
        (f"redis://:{SECRET}@cache/0", "credentials file"),
        (f"redis://cache/0?password={SECRET}", "credentials file"),
        (f"unix:///socket?password={SECRET}", "credentials file"),
        (f"{SECRET}:6379", "a peer store's url is"),
        (f"http://{SECRET}:6379", "a peer store's url is"),
        ("redis://", "a peer store's url is"),
        ("redis:///0", "a peer store's url is"),
        ("unix://socket", "a peer store's url is"),
        ("unix://a/socket", "absolute"),
        ("redis://cache:0/0", "a peer store's url is"),
        (f"redis://cache:{SECRET}", "the url is none"),
        ("redis://cache:99999", "the url is none"),
        ("redis://[cache", "the url is none"),
        (f"redis://cache/{SECRET}", "a number"),
        ("redis://cache/0/1", "a number"),
        ("unix:///socket?db=x", "a number"),
        ("rediss://cache/0?ssl_cert_reqs=none", "no option but db"),
        ("redis://cache/0#there", "a peer store's url is"),
    ],
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str, reason: str) -> None:
    document = {"tracker": {"origins": ["a:1"], "peer_store": {"url": url}}}
    with pytest.raises(Misuse, match=reason) as raised:
        load(TrackerConfig, "tracker", document, {})
    assert SECRET not in str(raised.value) + repr(raised.value.details)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "wrong",
    [{"timeout_s": 0.0}, {"timeout_s": 3.0}, {"prefix": ""}, {"prefix": "a b"}, {"prefix": "ä"}],
)
def test_what_no_store_could_keep_to_is_refused(wrong: dict[str, float | str]) -> None:
    document = {"tracker": {"origins": ["a:1"], "peer_store": wrong}}
    with pytest.raises(Misuse, match="peer_store"):
        load(TrackerConfig, "tracker", document, {})


def test_the_environment_may_name_the_store() -> None:
    environment = {"OCTOPULL_TRACKER__PEER_STORE__URL": "redis://cache"}
    config = load(TrackerConfig, "tracker", {"tracker": {"origins": ["a:1"]}}, environment)
    assert config.peer_store.url == "redis://cache"
    assert not load(TrackerConfig, "tracker", {"tracker": {"origins": ["a:1"]}}, {}).peer_store.url
