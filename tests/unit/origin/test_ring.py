"""How many copies there must be, and when some may go, as an origin's ring says."""

import pytest

from octopull.placement.members import Members, Membership
from octopull.services.origin.ring import Ring

A, B, C = "a:1", "b:1", "c:1"


def looked_up(now: Membership, replicas: int = 2) -> Ring:
    members = Members([], fixed=False)
    members.become(now)
    return Ring(members, A, replicas)


def test_a_list_of_few_makes_do_with_few_copies_and_may_lose_others_at_any_time() -> None:
    ring = Ring([A], A, 2)
    assert (ring.copies, ring.settled) == (1, True)


@pytest.mark.parametrize(
    ("now", "settled"),
    [
        (Membership((A, B, C)), True),
        (Membership((A, B)), True),
        (Membership((A,)), False),
        (Membership((A, B, C), {B: 0, C: 0}), False),
        (Membership((A, B, C), {C: 0}), True),
        (Membership((A, B, C), joined=frozenset({C})), False),
        (Membership((A, B, C), {C: 0}, left=frozenset({C})), False),
    ],
)
def test_where_members_come_and_go_copies_do_only_once_enough_are_known_and_none_is_new(
    now: Membership, *, settled: bool
) -> None:
    ring = looked_up(now)
    assert (ring.copies, ring.settled) == (2, settled)
