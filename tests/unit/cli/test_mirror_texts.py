"""Texts in, texts out: what the runtimes' files say with a mirror, and that it comes out again."""

import json
import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from octopull.cli.mirrors import blocks, daemon_json, hosts_toml, registries_conf
from octopull.cli.mirrors.names import Agent, Registry
from octopull.kernel.errors import InvalidName, Misuse

AGENT = Agent("127.0.0.1", 5101)
HUB = Registry("docker.io")
OWN = Registry("registry.example", own=True)
CAPABILITIES = {"capabilities": ["pull", "resolve"]}
registries = st.sampled_from([HUB, OWN, Registry("quay.io"), Registry("host:5000")])


# TOML


ROOT_KEYS = (
    'server = "https://up.example"',
    "skip_verify = false # [not a table]",
    'ca = [\n["a.crt"],\n  ["b.crt", "c.crt"]\n]',
    'note = """\n[host."http://127.0.0.1:5101"]\n[x]\n"""',
    "",
    "# [host]",
    "\t",
)
TABLES = (
    '[host."https://one.example"]\ncapabilities = ["pull"]',
    '[host."https://two.example"]',
    '  [host."https://two.example".header]\n  x-custom = ["a", "b"]',
    '[header]\nx = "[host]"',
    "[host]",
    "[[registry]]\nlocation = 'foreign.example'",
    "[[registry]]\nprefix = 'foreign.example/x'\nlocation = 'y'\n[[registry.mirror]]\nlocation='z'",
)
INLINE = ("host = {'https://z.example' = {}}", "host.'https://z.example'.skip_verify = true")


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    keys = draw(st.lists(st.sampled_from([*ROOT_KEYS, *INLINE]), unique=True))
    tables = draw(st.lists(st.sampled_from(TABLES), unique=True))
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    end = draw(st.sampled_from(["", "\n", "\n\n"]))
    text = ("\n".join([*keys, *tables]) + end).replace("\n", newline)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    return text


def inline(text: str) -> bool:
    return any(one in text for one in INLINE)


@given(toml_texts(), registries)
@example("", HUB)
@example("\n", OWN)
def test_hosts_toml_asks_the_agent_first_and_comes_back(text: str, registry: Registry) -> None:
    there = tomllib.loads(text)
    blank = not there
    try:
        changed = hosts_toml.install(text, registry, AGENT)
    except Misuse:
        assert inline(text)
        return
    said = tomllib.loads(changed)
    hosts: dict[str, Any] = said.pop("host")
    assert next(iter(hosts)) == AGENT.url
    assert hosts.pop(AGENT.url) == CAPABILITIES
    assert hosts == there.pop("host", {})
    if "server" not in there and (registry.own or blank):
        assert said.pop("server") == (AGENT.url if registry.own else registry.upstream)
    assert said == there
    assert hosts_toml.install(changed, registry, AGENT) == changed
    assert hosts_toml.remove(changed, registry.name) == text


def test_another_address_of_the_agent_replaces_the_first() -> None:
    text = 'skip_verify = true\n[host."https://one.example"]\n'
    moved = Agent("127.0.0.1", 6101)
    first = hosts_toml.install(text, HUB, AGENT)
    assert hosts_toml.install(first, HUB, moved) == hosts_toml.install(text, HUB, moved)
    drop_in = registries_conf.install("# mine", HUB, AGENT)
    drop_in = registries_conf.install(drop_in, OWN, AGENT)
    changed = registries_conf.install(drop_in, HUB, moved)
    assert changed == drop_in.replace("5101", "6101", 1)


@pytest.mark.parametrize("may", ['capabilities = ["resolve", "pull", "push"]', ""])
def test_a_host_that_somebody_wrote_by_hand_is_enough(may: str) -> None:
    text = f'[host."{AGENT.url}"]\n{may}'
    assert hosts_toml.install(text, HUB, AGENT) == text
    assert hosts_toml.remove(text, HUB.name) == text


@pytest.mark.parametrize(
    "said", ['{capabilities = ["pull"]}', '{capabilities = "pull, resolve"}', "1"]
)
def test_a_host_that_may_not_resolve_is_left_to_its_author(said: str) -> None:
    with pytest.raises(Misuse, match="not both to pull and to resolve"):
        hosts_toml.install(f'host = {{"{AGENT.url}" = {said}}}', HUB, AGENT)


@given(toml_texts(), st.lists(registries, min_size=1, unique=True), st.randoms())
def test_a_drop_in_has_each_registry_and_comes_back_whatever_the_order(
    text: str, wanted: list[Registry], chance: Any
) -> None:
    changed = text
    for registry in wanted:
        changed = registries_conf.install(changed, registry, AGENT)
    tables = tomllib.loads(changed)["registry"]
    assert tables[: -len(wanted)] == tomllib.loads(text).get("registry", [])
    mirror = {"location": AGENT.address, "insecure": True}
    for registry, said in zip(wanted, tables[-len(wanted) :], strict=True):
        at = {"location": registry.name, "mirror": [mirror]}
        assert said == {"prefix": registry.name, **(mirror if registry.own else at)}
        assert registries_conf.install(changed, registry, AGENT) == changed
    chance.shuffle(wanted)
    for registry in wanted:
        changed = registries_conf.remove(changed, registry.name)
    assert changed == text


def test_an_agent_with_tls_is_not_asked_in_clear() -> None:
    agent = Agent.parse("https://agent.example:443")
    assert "insecure" not in registries_conf.install("", HUB, agent)
    assert '[host."https://agent.example:443"]' in hosts_toml.install("", HUB, agent)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("key", ["prefix", "location"])
def test_a_registry_that_somebody_else_configured_is_not_replaced(*, key: str, own: bool) -> None:
    registry = Registry("quay.io", own=own)
    with pytest.raises(Misuse, match="already, which ours would replace"):
        registries_conf.install(f'[[registry]]\n{key} = "quay.io"\n', registry, AGENT)


@pytest.mark.parametrize("text", ["registry = [{location = 'a'}]", "registry = 1", "[", "a = 1\r"])
def test_a_drop_in_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        registries_conf.install(text, HUB, AGENT)


BEGIN = "# begin docker.io: octopull agent install-mirror\n"
END = "# end docker.io: octopull agent install-mirror\n"


@pytest.mark.parametrize(
    "text",
    [BEGIN, END, END + BEGIN, BEGIN + BEGIN + END + END, 2 * (BEGIN + END),
     BEGIN + END.replace("docker", "quay")],
)  # fmt: skip
def test_damaged_marks_are_refused(text: str) -> None:
    with pytest.raises(Misuse, match="do not pair up"):
        blocks.spans(text)


def test_a_mark_counts_only_as_a_whole_line() -> None:
    text = f" {BEGIN}#{BEGIN}{END[:-1]} or so\n"
    assert blocks.spans(text) == {}
    changed = blocks.insert(text, len(text), "docker.io", "body\n")
    assert blocks.remove(changed, "docker.io") == text
    windows = changed.replace("\n", "\r\n")
    assert blocks.remove(windows, "docker.io") == text.replace("\n", "\r\n")


# JSON


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
mirrors = st.lists(st.sampled_from(["https://a.example", "http://127.0.0.1:510", ""]) | texts)
SPACES = ("", " ", "\n", "\r\n", "\t", "\n  ", "\n    ", " \n ")


def spaced(value: Any, space: Callable[[], str]) -> str:
    """``value`` as JSON, with any white space where there may be some."""
    if isinstance(value, dict):
        pairs = [(json.dumps(key), spaced(one, space)) for key, one in value.items()]
        parts = [f"{space()}{key}{space()}:{space()}{one}{space()}" for key, one in pairs]
        return f"{{{','.join(parts) or space()}}}"
    if isinstance(value, list):
        parts = [f"{space()}{spaced(one, space)}{space()}" for one in value]
        return f"[{','.join(parts) or space()}]"
    return json.dumps(value, ensure_ascii=len(space()) > 1)


@st.composite
def daemon_documents(draw: st.DrawFn) -> str:
    members = draw(st.dictionaries(texts, values, max_size=3))
    if draw(st.booleans()):
        members[daemon_json.KEY] = draw(mirrors)
        members = dict(draw(st.permutations(list(members.items()))))
    style = draw(st.sampled_from([2, 4, None]))
    if style is not None:
        return json.dumps(members, indent=style) + draw(st.sampled_from(["", "\n"]))
    chance = draw(st.randoms(use_true_random=False))
    return spaced(members, lambda: str(chance.choice(SPACES)))


@given(daemon_documents())
@example("")
@example(" \n")
@example("{}")
@example("{}\n")
@example("{\n}\n")
@example('{"registry-mirrors": []}')
@example('{"registry-mirrors": [\n  ]}')
@example('{\n  "registry-mirrors": []\n}\n')
@example('{\n  "registry-mirrors": [\n    \n  ]\n}\n')
@example('{"registry-mirrors": ["http://a.example"], "debug": true}')
def test_daemon_json_has_the_agent_first_and_comes_back(text: str) -> None:
    there = json.loads(text or "{}") if text.strip() else {}
    changed = daemon_json.install(text, AGENT)
    before = there.pop(daemon_json.KEY, [])
    said = msgspec.json.decode(changed)
    assert said.pop(daemon_json.KEY) == [AGENT.url, *before]
    assert said == there
    assert daemon_json.install(changed, AGENT) == changed
    assert daemon_json.remove(changed, AGENT) == text


@given(daemon_documents())
def test_a_text_without_the_agent_is_left_as_it_is(text: str) -> None:
    assert daemon_json.remove(text, AGENT) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('["http://127.0.0.1:5101/"]', "[]"),
        ('["http://127.0.0.1:5101", "b"]', '["b"]'),
        ('["a", "http://127.0.0.1:5101"]', '["a"]'),
        ('["a", "http://127.0.0.1:5101" , "b"]', '["a", "b"]'),
    ],
)
def test_an_agent_that_was_moved_by_hand_is_still_found(before: str, after: str) -> None:
    text = '{"debug": [], "registry-mirrors": %s}'
    assert daemon_json.install(text % before, AGENT) == text % before
    assert daemon_json.remove(text % before, AGENT) == text % after


noise = st.text(max_size=30) | st.text('{}[]",: \n\\1e-ntruefalsNaIity', max_size=30)


@given(noise | noise.map(lambda text: f'{{"registry-mirrors": {text}}}'))
@example('{"registry-mirrors": [1]}')
@example('{"registry-mirrors": null}')
@example('{"registry-mirrors": "http://a.example"}')
@example('{"registry-mirrors": [], "registry-mirrors": []}')
@example('{"registry-mirrors": [], "registry\\u002dmirrors": []}')
@example('{"a": NaN}')
@example('{"a": %s}' % ("1" * 5000))
@example('{"a": %s' % ("[" * 100_000))
@example("[]")
@example("\ufeff{}")
@example("\u00a0")
@example("{}{}")
@example("{")
@example("\ud800")
def test_what_is_no_daemon_json_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        said = msgspec.json.decode(text, type=dict[str, Any]).get(daemon_json.KEY, [])
        good = isinstance(said, list) and all(isinstance(one, str) for one in said)
        good &= text.count("mirrors") < 2
    except (ValueError, RecursionError):
        good = not text.strip(" \t\r\n")
    for act in (daemon_json.install, daemon_json.remove):
        if good:
            act(text, AGENT)
        else:
            with pytest.raises(Misuse):
                act(text, AGENT)


# Names


@pytest.mark.parametrize(
    ("text", "url", "exposed"),
    [
        ("127.0.0.1:5101", "http://127.0.0.1:5101", False),
        ("http://localhost:5101/", "http://localhost:5101", False),
        ("[::1]:5101", "http://[::1]:5101", False),
        ("10.0.0.7:5101", "http://10.0.0.7:5101", True),
        ("https://agent.example:443", "https://agent.example:443", False),
    ],
)
def test_an_agents_address(text: str, url: str, *, exposed: bool) -> None:
    agent = Agent.parse(text)
    assert (agent.url, agent.exposed) == (url, exposed)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", "host:0", "host:65536", "ftp://host:1", "host:1/path", 'h"o:1', "a b:1",
     "h\n:1", "h:1\n", "-h:1", f"{'h' * 300}:1"],
)  # fmt: skip
def test_what_is_no_address_of_an_agent(text: str) -> None:
    with pytest.raises(Misuse):
        Agent.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "..", "../x", "docker", "a/b.c", 'a".b', "a.b\n", "a..b", ".a", "https://a.b", "a.b:",
     "a.b:123456", f"{'h.' * 200}h"],
)  # fmt: skip
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(InvalidName):
        Registry(text)


def test_where_a_registry_is_without_a_mirror() -> None:
    named = ("docker.io", "quay.io", "host:5000", "localhost:5000", "localhost")
    assert [Registry(one).upstream for one in named] == [
        "https://registry-1.docker.io", "https://quay.io", "https://host:5000",
        "http://localhost:5000", "http://localhost",
    ]  # fmt: skip
