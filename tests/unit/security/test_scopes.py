"""Scopes of tokens: parsed, printed, and asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse
from octopull.security import scopes
from octopull.security.scopes import SCOPES_MAX, Scope

names = st.from_regex(r"[a-z0-9]+(/[a-z0-9.:-]+)*", fullmatch=True).filter(
    lambda one: len(one) < 99
)
actions = st.lists(
    st.sampled_from(["pull", "push", "delete", "*"]), min_size=1, max_size=4, unique=True
)
made = st.builds(Scope, st.sampled_from(["repository", "registry"]), names, actions.map(tuple))


@given(st.lists(made, max_size=5))
def test_scopes_come_back_as_they_were_printed(found: list[Scope]) -> None:
    assert scopes.parse([" ".join(map(str, found))]) == found
    assert scopes.parse(map(str, found)) == found
    assert list(scopes.granted(scopes.claim(found))) == found


def test_clients_forms_are_understood() -> None:
    assert scopes.parse(["repository(plugin):team/app:pull,push"]) == [
        Scope("repository", "team/app", ("pull", "push"))
    ]
    host = scopes.parse(["repository:localhost:5000/app:pull"])
    assert host == [Scope("repository", "localhost:5000/app", ("pull",))]
    assert scopes.parse([]) == []


@given(st.text(max_size=200))
def test_anything_else_is_a_misuse(text: str) -> None:
    try:
        found = scopes.parse([text])
    except Misuse:
        return
    assert scopes.parse(map(str, found)) == found


def test_there_are_not_too_many() -> None:
    assert SCOPES_MAX == 10
    assert len(scopes.parse(["registry:catalog:*"] * SCOPES_MAX)) == SCOPES_MAX
    for many in (["registry:catalog:*"] * 11, [" ".join(["registry:catalog:*"] * 11)]):
        with pytest.raises(Misuse):
            scopes.parse(many)


def test_a_grant_is_about_one_thing_alone() -> None:
    scope = Scope("repository", "a", ("pull",))
    assert scope.allows("repository", "a", "pull")
    assert not scope.allows("repository", "a", "push")
    assert not scope.allows("repository", "a/b", "pull")
    assert not scope.allows("registry", "a", "pull")
    assert Scope("repository", "a", ("*",)).allows("repository", "a", "delete")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "name", "actions", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json)
def test_any_claim_is_a_list_of_grants_or_a_misuse(claim: object) -> None:
    try:
        found = scopes.granted(claim)
    except Misuse:
        return
    assert all(isinstance(one, Scope) for one in found)
