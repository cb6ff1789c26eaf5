"""Members that agree: one history, nothing acknowledged lost, through all that a seed does to them."""

import pytest

from model.group import Group

SEEDS = range(10)


def harm(group: Group) -> None:
    """One mishap, or the end of one."""
    random = group.random
    name = random.choice([group.leader() or group.names[0], *group.names])
    some = random.sample(group.names, random.randint(1, len(group.names) // 2))
    down = [one for one in group.names if group.machines[one].member is None]
    match random.randrange(9):
        case 0:
            group.kill(name)
        case 1:
            if group.may_be_wiped(name):
                group.kill(name, wipe=True)
        case 2 | 3:
            for one in down:
                group.start(one)
        case 4:
            group.stop(name, random.random() * 8)
        case 5:
            group.isolate([name])
        case 6:
            group.isolate(some)
        case 7:
            group.leave(name)
            group.run(group.now + random.random())
            group.kill(name)
        case _:
            group.cut.clear()


def heal(group: Group) -> None:
    group.cut.clear()
    group.lost = 0.0
    for name in group.names:
        if group.machines[name].member is None:
            group.start(name)


def live(group: Group, steps: int) -> None:
    for step in range(steps):
        group.run(group.now + group.random.random())
        for _ in range(group.random.randrange(4)):
            group.propose()
        group.read()
        if step > 10 and group.random.random() < 0.5:
            harm(group)


def check_all_agree(group: Group) -> None:
    """Every machine is up: they go on, and all have the same history with all that counts."""
    heal(group)
    group.run(group.now + 30)
    before = len(group.acknowledged)
    group.propose()
    group.read()
    group.run(group.now + 10)
    assert len(group.acknowledged) == before + 1, "nobody leads"
    seen = group.reads_seen
    assert seen
    for machine in group.machines.values():
        payloads = [payload for _, payload in group.history]
        assert machine.disk.book.payloads == payloads
        assert set(payloads) >= group.acknowledged
        assert machine.disk.promised is not None
        assert machine.disk.promised.birth == 0


@pytest.mark.parametrize("size", [3, 5])
def test_a_group_agrees_through_kills_lost_disks_and_cuts(size: int) -> None:
    acknowledged = 0
    for seed in SEEDS:
        group = Group(size, seed)
        live(group, 250)
        check_all_agree(group)
        acknowledged += len(group.acknowledged)
    assert acknowledged > 50 * len(SEEDS)


def test_the_one_that_has_a_book_from_before_founds_the_group() -> None:
    for seed in SEEDS:
        group = Group(3, seed, founders=["m0"])
        live(group, 80)
        check_all_agree(group)
        assert group.history[0] == (0, b"of m0")


def test_two_that_have_a_book_never_begin_a_group() -> None:
    for seed in SEEDS:
        group = Group(3, seed, founders=["m0", "m2"])
        for _ in range(60):
            group.run(group.now + 1)
            group.propose()
            assert group.leader() is None
        for name in ("m0", "m2"):
            assert group.machines[name].disk.book.payloads == [f"of {name}".encode()]


def test_a_book_on_its_way_is_waited_for_in_peace() -> None:
    group = Group(3, 5)
    group.run(20)
    leader = group.leader()
    late = next(name for name in group.names if name != leader)
    group.kill(late)
    for _ in range(100):
        group.propose()
        group.run(group.now + 0.1)
    group.books = False
    group.kill(late, wipe=True)
    group.start(late)
    group.run(group.now + 5)
    sent = []
    for _ in range(2):
        before = group.sent
        for _ in range(50):
            group.read()
            group.run(group.now + 0.1)
        sent.append(group.sent - before)
    assert sent[1] < 1.3 * sent[0]
    group.books = True
    check_all_agree(group)


def test_a_majority_suffices_and_less_does_not() -> None:
    group = Group(3, 1)
    group.run(20)
    group.kill(group.names[0])
    group.run(40)
    group.propose()
    group.run(50)
    assert len(group.acknowledged) == 1
    group.kill(group.names[1])
    group.run(70)
    assert group.leader() is None


def test_one_that_is_about_to_end_hands_over_in_a_moment() -> None:
    for seed in SEEDS:
        group = Group(5, seed)
        group.lost = 0.0
        group.run(20)
        ending = str(group.leader())
        group.propose()
        group.leave(ending)
        assert group.leader() is None, "it still begins something"
        group.run(group.now + 0.3)
        assert group.leader() not in {None, ending}
        group.kill(ending)
        group.propose()
        group.run(group.now + 0.3)
        # The first one may not have been told, though it counts.
        assert b"p1" in [payload for _, payload in group.history]
        assert b"p2" in group.acknowledged
        check_all_agree(group)


def test_one_that_nobody_can_follow_goes_on_leading_until_it_ends() -> None:
    group = Group(3, 3)
    group.run(20)
    ending = str(group.leader())
    group.isolate([ending])
    group.leave(ending)
    group.run(group.now + 0.2)
    assert group.leader() is None
    group.run(group.now + 20)
    assert group.leader() not in {None, ending}
    check_all_agree(group)


def test_who_lost_its_disk_does_not_count_until_it_has_everything_again() -> None:
    group = Group(3, 2)
    group.run(20)
    group.propose()
    group.run(30)
    third = group.leader()
    first, second = (name for name in group.names if name != third)
    group.kill(first)
    group.kill(second, wipe=True)
    group.start(second)
    group.run(90)
    before = len(group.acknowledged)
    group.propose()
    group.run(110)
    assert len(group.acknowledged) == before, "one that forgot made a majority"
    group.start(first)
    group.run(140)
    assert group.leader() is not None
    group.kill(str(third))
    group.run(170)
    assert group.leader() is not None
