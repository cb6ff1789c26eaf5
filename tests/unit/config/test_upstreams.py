import pytest

from octopull.config import load
from octopull.config.services import (
    AgentConfig,
    OriginConfig,
    ProxyConfig,
    TagIndexConfig,
    TrackerConfig,
)
from octopull.kernel.errors import Misuse

BASE = {"data": "/d", "origins": ["o:1"], "trackers": ["t:1"], "tag_indexes": ["i:1"]}
SHAPES = {
    AgentConfig: ("data", "trackers", "tag_indexes"), OriginConfig: ("data",),
    ProxyConfig: ("origins", "tag_indexes"), TagIndexConfig: ("data", "origins"),
    TrackerConfig: ("origins",),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_service_takes_the_same_upstreams(shape: type[AgentConfig]) -> None:
    base = {name: BASE[name] for name in SHAPES[shape]}
    given = [{"name": "docker.io", "tag_ttl_s": 5}, {"name": "quay.io", "url": "http://q:1"}]
    config = load.load(shape, "x", {"x": {**base, "upstreams": given}}, {})
    assert [one.address for one in config.upstreams] == [
        "https://registry-1.docker.io", "http://q:1",
    ]  # fmt: skip
    assert config.upstreams[0].tag_ttl_s == 5
    with pytest.raises(Misuse, match="each upstream is given once"):
        load.load(shape, "x", {"x": {**base, "upstreams": [given[0], given[0]]}}, {})


def test_mistakes_in_a_list_are_told_by_their_place() -> None:
    given = [{"name": "docker.io"}, {"nam": "x"}, 7, {"name": "x", "tag_ttl_s": "y"}]
    with pytest.raises(Misuse) as told:
        load.load(OriginConfig, "origin", {"origin": {"data": "/d", "upstreams": given}}, {})
    for part in ("origin.upstreams[1].nam: unknown setting; did you mean name?",
                 "origin.upstreams[1].name: required", "origin.upstreams[2]: must be a mapping",
                 "origin.upstreams[3].tag_ttl_s: "):  # fmt: skip
        assert part in str(told.value)
    with pytest.raises(Misuse, match=r"origin\.upstreams: "):
        load.load(OriginConfig, "origin", {"origin": {"data": "/d", "upstreams": 7}}, {})


def test_the_environment_gives_upstreams_as_yaml() -> None:
    environment = {"OCTOPULL_ORIGIN__UPSTREAMS": "[{name: docker.io, requests_max: 2}]"}
    config = load.load(OriginConfig, "origin", {"origin": {"data": "/d"}}, environment)
    assert config.upstreams[0].requests_max == 2
