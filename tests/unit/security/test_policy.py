"""Rules: what is not allowed is denied, a denial wins, and each decision names its rule."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.config import load
from octopull.config.policy import PolicySettings
from octopull.kernel.errors import Misuse
from octopull.registry.access import access
from octopull.security import callers
from octopull.security.callers import NOBODY, Caller
from octopull.security.policy import EVERYTHING, Action, Policy, Rule

ALICE = Caller(name="alice", groups=frozenset({"staff"}))
BOB = Caller(name="bob")
MACHINE = Caller(certificates=("ci.build.internal", "spiffe://cluster/ci"))
ROBOT = Caller(
    name="github:repo:acme/app",
    claims={"github:repository": ("acme/app",), "github:env": ("a", "b")},
)

RULES: dict[str, Any] = {
    "groups": {"builders": ["user:bob", "certificate:*.build.internal"]},
    "rules": [
        {"who": ["anyone"], "repositories": ["public/**"], "actions": ["pull"]},
        {"who": ["group:staff"], "repositories": ["**"], "actions": ["pull"], "name": "staff"},
        {"who": ["group:builders"], "repositories": ["team/**"], "actions": ["pull", "push"]},
        {"who": ["claim:github:repository=acme/*"], "repositories": ["acme/*"], "actions": ["push"]},
        {"who": ["known"], "repositories": ["team/secret"], "actions": ["pull", "push"],
         "effect": "deny"},
    ],
}  # fmt: skip


def policy(document: dict[str, Any]) -> Policy:
    return Policy(load.load(PolicySettings, "access", {"access": document}, {}))


@pytest.mark.parametrize(
    ("caller", "action", "repository", "allowed", "reason"),
    [
        (NOBODY, Action.PULL, "public/base", True, "rule 1 allows it to anyone"),
        (NOBODY, Action.PULL, "team/app", False, "no rule allows it"),
        (NOBODY, Action.PUSH, "public/base", False, "no rule allows it"),
        (ALICE, Action.PULL, "team/app", True, "rule 2 (staff) allows it to group:staff"),
        (ALICE, Action.PUSH, "team/app", False, "no rule allows it"),
        (ALICE, Action.PULL, "team/secret", False, "rule 5 denies it to known"),
        (BOB, Action.PUSH, "team/app", True, "rule 3 allows it to group:builders"),
        (BOB, Action.DELETE, "team/app", False, "no rule allows it"),
        (BOB, Action.PUSH, "team/secret", False, "rule 5 denies it to known"),
        (MACHINE, Action.PUSH, "team/app", True, "rule 3 allows it to group:builders"),
        (ROBOT, Action.PUSH, "acme/x", True,
         "rule 4 allows it to claim:github:repository=acme/*"),
        (ROBOT, Action.PUSH, "team/app", False, "no rule allows it"),
    ],
)  # fmt: skip
def test_each_decision_names_the_rule_that_made_it(
    caller: Caller, action: Action, repository: str, allowed: bool, reason: str
) -> None:
    decision = policy(RULES).decide(caller, action, repository)
    assert (decision.allowed, decision.reason) == (allowed, reason)


def test_callers_are_told_what_they_may_not_and_not_by_which_rule() -> None:
    told = policy(RULES).decide(ALICE, Action.PUSH, "team/app").told
    assert told == "alice may not push to team/app: no rule allows it"
    told = policy(RULES).decide(NOBODY, Action.PULL, "team/app").told
    assert told == "somebody who is not logged in may not pull from team/app: no rule allows it"
    assert "secret" not in policy(RULES).decide(BOB, Action.ADMIN, EVERYTHING).told


def test_only_who_may_pull_everything_and_is_denied_nothing_may_list_everything() -> None:
    everything = {"who": ["user:bob"], "repositories": ["**"], "actions": ["pull"]}
    part = {"who": ["user:bob"], "repositories": ["a/**"], "actions": ["pull"]}
    for rules, allowed in (([everything], True), ([part], False),
                           ([everything, {**part, "effect": "deny"}], False)):  # fmt: skip
        assert policy({"rules": rules}).decide(BOB, Action.PULL, EVERYTHING).allowed is allowed


def test_names_of_an_issuer_are_never_those_of_a_file() -> None:
    rules = {"rules": [{"who": ["user:alice"], "repositories": ["**"], "actions": ["pull"]}]}
    pretender = Caller(name="github:alice")
    assert not policy(rules).decide(pretender, Action.PULL, "a").allowed
    assert policy(rules).decide(ALICE, Action.PULL, "a").allowed


def test_a_denial_of_a_group_reaches_those_in_groups_within_it() -> None:
    rules = {
        "groups": {"outer": ["group:middle"], "middle": ["group:inner"], "inner": ["user:bob"]},
        "rules": [
            {"who": ["anyone"], "repositories": ["**"], "actions": ["pull"]},
            {"who": ["group:outer"], "repositories": ["**"], "actions": ["pull"], "effect": "deny"},
        ],
    }
    decision = policy(rules).decide(BOB, Action.PULL, "a")
    assert (decision.allowed, decision.reason) == (False, "rule 2 denies it to group:outer")
    assert policy(rules).decide(ALICE, Action.PULL, "a").allowed


group_names = st.sampled_from("abcdef")
members = st.lists(
    st.one_of(group_names.map("group:{}".format), st.sampled_from(["user:bob", "group:staff"])),
    min_size=1, max_size=3,
)  # fmt: skip


@given(st.dictionaries(group_names, members), st.sampled_from([NOBODY, ALICE, BOB]))
def test_a_caller_is_in_the_groups_from_which_members_lead_to_it_and_in_no_other(
    found: dict[str, list[str]], caller: Caller
) -> None:
    own = {f"user:{caller.name}", *(f"group:{one}" for one in caller.groups)}

    def leads(group: str, passed: frozenset[str]) -> bool:
        inner = {one.removeprefix("group:") for one in found[group]} & found.keys() - passed
        return bool(own & {*found[group]}) or any(leads(one, passed | {one}) for one in inner)

    expected = {group for group in found if leads(group, frozenset({group}))}
    assert policy({"groups": found}).groups(caller) == caller.groups | expected


def test_every_mistake_is_told_at_once_with_its_rule() -> None:
    with pytest.raises(Misuse) as found:
        policy(
            {
                "groups": {"g": ["alice"]},
                "rules": [
                    {"who": ["user:a"], "repositories": ["x"], "actions": ["pul"]},
                    {"who": ["claim:x"], "repositories": ["x"], "actions": ["pull"]},
                ],
            }
        )
    for words in ("groups.g", "'alice' is none of anyone", "rule 1: no such action: pul", "rule 2"):
        assert words in str(found.value)


who = st.sampled_from(
    [
        "anyone",
        "known",
        "user:alice",
        "user:*",
        "group:staff",
        "certificate:*",
        "claim:github:env=a",
    ]
)
actions = st.lists(st.sampled_from([one.value for one in Action]), min_size=1, max_size=3)
rules = st.lists(
    st.fixed_dictionaries(
        {
            "who": st.lists(who, min_size=1, max_size=2),
            "repositories": st.lists(st.sampled_from(["a", "a/*", "a/**", "**"]), min_size=1),
            "actions": actions,
            "effect": st.sampled_from(["allow", "deny"]),
        }
    ),
    max_size=6,
)


@given(rules, st.sampled_from([NOBODY, ALICE, BOB, MACHINE, ROBOT]), st.sampled_from(Action),
       st.sampled_from(["a", "a/b", "a/b/c", "b", EVERYTHING]), st.randoms())  # fmt: skip
def test_the_order_of_rules_never_matters_and_denials_only_take_away(
    found: list[dict[str, Any]], caller: Caller, action: Action, repository: str, chance: Any
) -> None:
    decided = policy({"rules": found}).decide(caller, action, repository).allowed
    shuffled = chance.sample(found, len(found))
    assert policy({"rules": shuffled}).decide(caller, action, repository).allowed == decided
    without = [one for one in found if one["effect"] == "allow"]
    assert policy({"rules": without}).decide(caller, action, repository).allowed >= decided


@given(rules, st.sampled_from([NOBODY, ALICE, BOB, MACHINE, ROBOT]),
       st.sets(st.sampled_from(Action)), st.sampled_from(["a", "a/b", "a/b/c", EVERYTHING]))  # fmt: skip
def test_what_is_allowed_at_once_is_what_is_allowed_one_by_one(
    found: list[dict[str, Any]], caller: Caller, wanted: set[Action], repository: str
) -> None:
    asked = policy({"rules": found})
    allowed = asked.allowed(caller, asked.groups(caller), wanted, repository)
    assert allowed == {one for one in wanted if asked.decide(caller, one, repository).allowed}


def test_a_rule_is_compared_with_a_repository_once_for_all_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []
    covers = Rule.covers

    def counting(self: Rule, repository: str) -> bool:
        compared.append(repository)
        return covers(self, repository)

    monkeypatch.setattr(Rule, "covers", counting)
    every = {"who": ["anyone"], "repositories": ["a"], "actions": [one.value for one in Action]}
    asked = policy({"rules": [every, every]})
    assert asked.allowed(BOB, frozenset(), set(Action), "a") == set(Action)
    assert compared == ["a"]
    compared.clear()
    assert not asked.allowed(BOB, frozenset(), set(Action), "b")
    assert compared == ["b", "b"]


@given(st.text(max_size=60))
def test_any_word_of_a_rule_is_understood_or_a_misuse(text: str) -> None:
    try:
        found = callers.parse(text)
    except Misuse:
        return
    assert str(found) == text
    found.includes(ALICE, ALICE.groups)


def test_names_that_an_issuer_chose_are_shown_in_part() -> None:
    for caller in (Caller(name="x" * 9999), Caller(certificates=("x" * 9999,))):
        assert len(policy(RULES).decide(caller, Action.PUSH, "a").told) < 300


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_file_is_one_of_rules_or_a_misuse(content: bytes) -> None:
    with contextlib.suppress(Misuse):
        access.policy(content)
    with contextlib.suppress(Misuse):
        access.policy(b"rules: [" + content + b"]")
