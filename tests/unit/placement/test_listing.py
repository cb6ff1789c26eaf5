"""Lists of hosts, some by DNS: never empty once they were known, and only what must moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, Unavailable
from octopull.placement.listing import Listing
from octopull.placement.lookups import (
    Lookup,
    Service,
    lookups,
    members_by_address,
    members_by_service,
    parse,
)
from octopull.placement.members import Members, Membership

DNS, SRV = "dns://origins.example:5010", "srv://_octopull-origin._tcp.example"
A, B = Lookup("origins.example", 5010), Lookup("_octopull-origin._tcp.example")
HOSTS = [f"10.0.0.{number}:5010" for number in range(6)]
ANSWERS = st.dictionaries(st.sampled_from(HOSTS), st.sampled_from([0.0, 0.5, 1.0, 3.0]), max_size=6)


def nobody_is_down(_: str) -> bool:
    return False


def hosts_of(listing: Listing, now: float = 0.0) -> Membership:
    return listing.membership(now, nobody_is_down)


# What a line says.


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("origin-1:5010", "origin-1:5010"),
        ("[::1]:5010", "[::1]:5010"),
        (DNS, A),
        (SRV, B),
        ("srv://_octopull-origin._tcp.example.", Lookup("_octopull-origin._tcp.example.")),
    ],
)
def test_a_line_is_a_host_or_a_lookup(text: str, read: Lookup | str) -> None:
    assert parse(text) == read
    assert str(read) == text


@pytest.mark.parametrize(
    "wrong",
    ["origin-1", "origin-1:", "origin-1:http", "dns://origins.example", "dns://:1", "dns://a:0",
     "dns://a:65536", "dns://a:999999999999", "dns://a b:1", "srv://", "srv://a..b",
     "srv://a:5010", "http://a:80", "dns://a/b:1", "a:١", f"srv://{'a.' * 200}a"],
)  # fmt: skip
def test_a_line_that_is_neither_is_refused(wrong: str) -> None:
    with pytest.raises(Misuse):
        parse(wrong)


@given(st.one_of(st.text(max_size=40), st.text("dnsrv:/_.-09a", max_size=40).map("srv://".__add__),
                 st.text("dnsrv:/_.-09a", max_size=40).map("dns://".__add__)))  # fmt: skip
def test_any_text_is_read_and_written_alike_or_refused(text: str) -> None:
    try:
        read = parse(text)
    except Misuse:
        return
    assert str(read) == text or (isinstance(read, Lookup) and parse(str(read)) == read)


# What an answer means.


def test_an_address_is_a_member_at_the_port_of_its_lookup() -> None:
    assert members_by_address(["10.0.0.1", "fd00::1"], 5010) == {
        "10.0.0.1:5010": 1.0, "[fd00::1]:5010": 1.0,
    }  # fmt: skip


def test_services_of_the_least_priority_weigh_and_others_own_nothing() -> None:
    records = [
        Service(10, 20, 5010, "B.example."), Service(10, 40, 5010, "a.example."),
        Service(20, 99, 5010, "leaving.example."), Service(10, 20, 0, "."),
    ]  # fmt: skip
    assert members_by_service(records) == {
        "b.example:5010": 1.0, "a.example:5010": 2.0, "leaving.example:5010": 0.0,
    }  # fmt: skip


@given(st.integers(0, 65535), st.integers(1, 6))
def test_services_of_equal_weight_weigh_as_hosts_do(weight: int, count: int) -> None:
    records = [Service(0, weight, 5010, f"o{number}.example.") for number in range(count)]
    assert set(members_by_service(records).values()) == {1.0}


@given(st.lists(st.builds(Service, st.integers(0, 3), st.integers(0, 65535), st.just(1),
                          st.sampled_from(["a.", "b.", "c."])), min_size=1))  # fmt: skip
def test_of_any_records_some_member_owns_something(records: list[Service]) -> None:
    assert max(members_by_service(records).values()) >= 1


# Who is a member.


def test_a_list_without_lookups_is_what_it_is() -> None:
    listing = Listing(["b:1", "a:1"], {"a:1": 2.0})
    assert (listing.fixed, listing.complete) == (True, True)
    assert hosts_of(listing) == Membership(("b:1", "a:1"), {"a:1": 2.0})


def test_until_every_lookup_was_answered_nobody_is_a_member_but_oneself() -> None:
    listing = Listing(["static:1", DNS, SRV])
    listing.answered(A, {"a:1": 1.0}, 0.0)
    assert hosts_of(listing) == Membership((), {})
    with pytest.raises(Unavailable):
        hosts_of(listing).owners(Digest.of(b""), 2)
    listing.answered(B, {"b:1": 2.0}, 0.0)
    assert hosts_of(listing) == Membership(("static:1", "a:1", "b:1"), {"b:1": 2.0})
    mine = Listing([DNS], me="me:1")
    assert hosts_of(mine).owners(Digest.of(b""), 2) == ["me:1"]
    mine.answered(A, {"a:1": 1.0}, 0.0)
    assert hosts_of(mine) == Membership(("a:1", "me:1"), {"me:1": 0.0})
    mine.answered(A, {"a:1": 1.0, "me:1": 1.0}, 0.0)
    assert hosts_of(mine) == Membership(("a:1", "me:1"), {})


@given(st.lists(st.tuples(st.sampled_from([A, B]), ANSWERS, st.floats(0, 5)), max_size=30))
def test_the_last_good_answers_count_and_who_vanished_stays_a_while_without_weight(
    answers: list[tuple[Lookup, dict[str, float], float]],
) -> None:
    listing, now = Listing([DNS, SRV, "static:1"], settle_s=10.0), 0.0
    last, vanished = dict[Lookup, dict[str, float]](), dict[str, float]()
    for lookup, found, passed in answers:
        now += passed
        before = set().union(*last.values()) if len(last) == 2 else set()
        if found:
            last[lookup] = found
        listing.answered(lookup, found, now)
        if len(last) < 2:
            continue
        named = set().union(*last.values())
        vanished |= {host: now + 10.0 for host in before - named if host not in vanished}
        vanished = {one: at for one, at in vanished.items() if one not in named and at > now}
        told = hosts_of(listing, now)
        assert set(told.hosts) == {"static:1", *named, *vanished}
        assert all(told.weights[host] == 0 for host in vanished)
        for host in named:
            weight = max(answer.get(host, 0.0) for answer in last.values())
            assert told.weights.get(host, 1) == weight
        assert told.owners(Digest.of(b""), 2)
        weights = [told.weights.get(host, 1) > 0 for host in told.hosts]
        assert weights == sorted(weights, reverse=True)


def test_one_that_left_and_is_down_is_no_member_and_one_that_comes_back_is_as_before() -> None:
    listing = Listing([DNS], {"b:1": 3.0}, settle_s=60.0)
    listing.answered(A, {"a:1": 1.0, "b:1": 1.0}, 0.0)
    listing.answered(A, {"a:1": 1.0}, 1.0)
    left = frozenset({"b:1"})
    assert hosts_of(listing, 2.0) == Membership(("a:1", "b:1"), {"b:1": 0.0}, left=left)
    listing.answered(A, {"a:1": 1.0, "b:1": 1.0}, 3.0)
    assert hosts_of(listing, 3.0) == Membership(("a:1", "b:1"), {"b:1": 3.0})
    listing.answered(A, {"a:1": 1.0}, 4.0)
    assert listing.membership(5.0, lambda host: host == "b:1").hosts == ("a:1",)
    assert hosts_of(listing, 6.0).hosts == ("a:1",)


@given(st.lists(st.sampled_from(HOSTS), min_size=2, max_size=5, unique=True), st.integers(0, 200))
def test_a_change_of_an_answer_moves_only_what_must(hosts: list[str], seed: int) -> None:
    listing = Listing([DNS], settle_s=60.0)
    listing.answered(A, dict.fromkeys(hosts, 1.0), 0.0)
    digest, came = Digest.of(b"%d" % seed), "new:1"
    before = hosts_of(listing).owners(digest, 2)
    listing.answered(A, dict.fromkeys([*hosts, came], 1.0), 1.0)
    assert [one for one in hosts_of(listing, 1.0).owners(digest, 3) if one != came][:2] == before
    listing.answered(A, dict.fromkeys(hosts, 1.0), 2.0)
    assert hosts_of(listing, 2.0).owners(digest, 2) == before


def test_one_that_joined_counts_so_for_a_while_and_those_of_the_first_answer_do_not() -> None:
    listing = Listing([DNS], settle_s=10.0)
    listing.answered(A, {"a:1": 1.0}, 0.0)
    assert not hosts_of(listing).joined
    listing.answered(A, {"a:1": 1.0, "b:1": 1.0}, 1.0)
    assert hosts_of(listing, 10.9).joined == {"b:1"}
    assert not hosts_of(listing, 11.0).joined


NEW = ["new-1:1", "new-2:1", "new-3:1"]


@given(st.integers(0, 300), st.sets(st.sampled_from([*HOSTS[:3], *NEW])))
def test_those_who_hold_a_blob_are_among_those_that_are_named_as_holders(
    seed: int, down: set[str]
) -> None:
    digest, count = Digest.of(b"%d" % seed), 2
    before = Membership(tuple(HOSTS[:3])).owners(digest, count)
    now = Membership((*HOSTS[:3], *NEW), joined=frozenset(NEW))
    named = now.holders(digest, count, down.__contains__)
    up = [host for host in now.line(digest.hex) if host not in down]
    assert len(named) == len(set(named)) >= 1
    assert set(named) <= set(up) or not up
    joined = [host for host in named if host in NEW]
    holding = [host for host in before if host in up]
    assert set(holding[: len(joined)]) <= set(named)
    if not joined:
        assert named == ([host for host in now.owners(digest, count) if host in up] or up[:count]
                         or now.owners(digest, count))  # fmt: skip


def test_members_tell_of_changes_alone_and_forget_opinions_on_who_went() -> None:
    members, changes = Members([], fixed=False), list[tuple[str, ...]]()
    members.on_change(lambda: changes.append(members.hosts))
    assert members.become(Membership(("a:1", "b:1")))
    assert not members.become(Membership(("a:1", "b:1")))
    for _ in range(3):
        members.health.checked("a:1", passed=False)
    assert members.become(Membership(("b:1",)))
    assert changes == [("a:1", "b:1"), ("b:1",)]
    assert not members.health.down("a:1")


def test_lookups_are_asked_once_each() -> None:
    assert lookups([DNS, "a:1", SRV, DNS]) == [A, B]
