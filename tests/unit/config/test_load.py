from pathlib import Path
from typing import Any

import pytest

from octopull.config import load
from octopull.config.services import AgentConfig, BandwidthSettings, OriginConfig, Tls
from octopull.kernel.errors import Misuse

GOOD = {"agent": {"data": "/d", "trackers": ["t:1"], "tag_indexes": ["i:1"]}}


def test_defaults_stand_in_the_fields_and_sections_nest() -> None:
    document = {"agent": {**GOOD["agent"], "listen": {"port": 80}, "cache": {"idle_s": 0.0}}}
    config = load.load(AgentConfig, "agent", document, {})
    assert (config.listen.host, config.listen.port, config.cache.idle_s) == ("127.0.0.1", 80, 0.0)


def test_every_error_is_told_at_once_and_by_its_place() -> None:
    document = {
        "agent": {
            "trackers": ["no port"],
            "tag_indexs": ["i:1"],
            "listen": {"port": "eighty"},
            "cache": {"low_watermark": 0.9, "high_watermark": 0.8},
            "peer": 7,
        }
    }
    with pytest.raises(Misuse) as caught:
        load.load(AgentConfig, "agent", document, {})
    told = str(caught.value)
    for part in ("agent.data: required", "agent.tag_indexs: unknown setting; did you mean tag_indexes?",
                 "agent.listen.port: ", "agent.cache: watermarks", "agent.peer: must be a mapping"):  # fmt: skip
        assert part in told


def test_the_environment_overrides_the_file() -> None:
    environment = {"OCTOPULL_AGENT__LISTEN__PORT": "99", "OCTOPULL_AGENT__TRACKERS": "[a:1, b:2]"}
    config = load.load(AgentConfig, "agent", GOOD, environment)
    assert (config.listen.port, config.trackers) == (99, ["a:1", "b:2"])


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\x00", "agent: !!python/object:os.system {}"])
def test_what_is_no_yaml_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(Misuse):
        load.read(path)


def test_an_origin_must_be_one_of_its_ring() -> None:
    with pytest.raises(Misuse, match="name must be one of origins"):
        load.load(OriginConfig, "origin", {"origin": {"data": "/d", "origins": ["a:1"]}}, {})


def test_what_may_be_absent_may_be_given_or_null() -> None:
    files = {"certificate": "/c", "key": "/k"}
    document = {
        "agent": {
            **GOOD["agent"],
            "listen": {"tls": files},
            "peer": {"bandwidth": {"in_bytes_per_s": 5, "out_bytes_per_s": None}},
        }
    }
    config = load.load(AgentConfig, "agent", document, {})
    assert config.listen.tls == Tls(**files)
    assert config.peer.bandwidth == BandwidthSettings(in_bytes_per_s=5)
    plain = load.load(
        AgentConfig, "agent", {"agent": {**GOOD["agent"], "listen": {"tls": None}}}, {}
    )
    assert plain.listen.tls is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"listen": {"tls": {"certificate": "/c"}}}, "agent.listen.tls.key: required"),
        ({"listen": {"tls": "yes"}}, "agent.listen.tls: must be a mapping"),
        (
            {"peer": {"bandwidth": {"in_bytes_per_s": "fast"}}},
            "agent.peer.bandwidth.in_bytes_per_s",
        ),
        ({"peer": {"bandwidth": {"in_bytes_per_s": 0}}}, "a limit is positive"),
        ({"peer": {"dials_max": 15}}, "at least two connections more"),
    ],
)
def test_settings_that_make_no_sense_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Misuse, match=told):
        load.load(AgentConfig, "agent", {"agent": {**GOOD["agent"], **settings}}, {})


@pytest.mark.parametrize("text", ["a: 2001-13-99", "a: 0b_", f"a: {'9' * 5000}", "[" * 3000])
def test_what_python_takes_for_no_value_is_told_as_no_yaml(text: str) -> None:
    with pytest.raises(Misuse, match="the file: "):
        load.parse(text, "the file")
    environment = {"OCTOPULL_AGENT__DATA": text}
    assert load.load(AgentConfig, "agent", GOOD, environment).data == text
