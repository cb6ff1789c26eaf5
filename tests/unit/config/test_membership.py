"""Who is there, as a configuration says it: hosts, lookups, names, weights, DNS servers."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.config import load
from octopull.config.membership import DnsSettings
from octopull.config.services import AgentConfig, OriginConfig, TagIndexConfig
from octopull.http.addresses import addresses_by
from octopull.kernel.errors import Misuse

LOOKUP = "dns://origins.example:5010"
ORIGIN = {"data": "/d", "origins": [LOOKUP], "name": "10.0.0.1:5010"}


def origin(**changed: Any) -> OriginConfig:
    return load.load(OriginConfig, "origin", {"origin": {**ORIGIN, **changed}}, {})


def test_an_origin_of_a_ring_that_is_looked_up_says_its_own_name() -> None:
    assert origin().name == "10.0.0.1:5010"
    for name in ("", "10.0.0.1", LOOKUP):
        with pytest.raises(Misuse, match="origin"):
            origin(name=name)


def test_weights_may_be_of_whomever_dns_names_but_of_hosts() -> None:
    assert origin(weights={"10.0.0.7:5010": 0}).weights == {"10.0.0.7:5010": 0}
    with pytest.raises(Misuse, match="weights"):
        origin(weights={"10.0.0.7": 1})
    with pytest.raises(Misuse, match="weights are of origins"):
        origin(origins=["10.0.0.1:5010"], weights={"10.0.0.7:5010": 0})


def test_the_members_of_a_group_are_not_looked_up_and_one_is_told_why() -> None:
    settings = {
        "data": "/d", "origins": [LOOKUP], "name": "a:1",
        "tag_indexes": ["a:1", "b:1", "srv://_octopull-tag-index._tcp.example"],
    }  # fmt: skip
    with pytest.raises(Misuse, match="DNS is for those who ask tag indexes"):
        load.load(TagIndexConfig, "tag_index", {"tag_index": settings}, {})


def test_every_line_that_is_none_is_told() -> None:
    settings = {"data": "/d", "trackers": ["dns://tracker"], "tag_indexes": ["a:1"]}
    with pytest.raises(Misuse, match=r"trackers: .*dns://tracker"):
        load.load(AgentConfig, "agent", {"agent": settings}, {})


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("10.0.0.2", ("10.0.0.2", 53)), ("10.0.0.2:5353", ("10.0.0.2", 5353)),
        ("fd00::1", ("fd00::1", 53)), ("[fd00::1]", ("fd00::1", 53)),
        ("[fd00::1]:5353", ("fd00::1", 5353)),
    ],
)  # fmt: skip
def test_a_dns_server_is_an_address_with_or_without_a_port(
    server: str, address: tuple[str, int]
) -> None:
    assert DnsSettings(servers=[server]).addresses == [address]


@given(st.text("0123456789.:[]af/% ", max_size=24))
def test_any_other_text_is_refused_as_a_server(server: str) -> None:
    try:
        ((host, port),) = DnsSettings(servers=[server]).addresses
    except Misuse:
        return
    assert 0 < port < 65536
    assert DnsSettings(servers=[f"[{host}]:{port}"]).addresses == [(host, port)]


@pytest.mark.parametrize(
    "wrong", [{"every_s": 0}, {"timeout_s": 0}, {"settle_s": -1}, {"servers": ["dns.example"]}]
)
def test_dns_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        DnsSettings(**wrong)


async def test_without_dnspython_one_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    with pytest.raises(Misuse, match=r"pip install 'octopull\[dns\]'"):
        addresses_by(DnsSettings(servers=["10.0.0.2"]))
    assert addresses_by(DnsSettings()) is None
