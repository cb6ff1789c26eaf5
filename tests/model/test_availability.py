"""What a run of chaos counts as answered, and against whom."""

from support.chaos.availability import NOBODY, Availability, summed, weighed
from support.chaos.client import Asked
from support.chaos.history import Spell
from support.chaos.mishaps import Way

KILLED = Spell("origin", "origin-1", Way.KILLED, 10.0, 20.0)
STOPPED = Spell("tracker", "tracker-0", Way.STOPPED, 15.0, 18.0)
AGENT = Spell("agent", "agent-2", Way.CUT, 10.0, 20.0)
INDEX = Spell("tag-index", "tag-index-0", Way.KILLED, 12.0, 13.0)


def asked(via: str, from_s: float, *, fine: bool = True) -> Asked:
    return Asked(via, from_s, from_s + 1, fine, "" if fine else "503")


def counts(*those: Asked, spells: list[Spell], sole_index: bool = False) -> dict[str, list[int]]:
    found = weighed(those, spells, sole_index=sole_index)
    return {name: [one.asked, one.fine] for name, one in found.items()}


def test_a_request_counts_for_all_that_befell_others_meanwhile() -> None:
    some = [asked("agent-0", 9.5), asked("agent-0", 16), asked("agent-1", 17.5, fine=False)]
    assert counts(*some, spells=[KILLED, STOPPED]) == {
        "origin killed": [3, 2], "tracker stopped": [2, 1]
    }  # fmt: skip


def test_a_request_while_nobody_is_harmed_counts_as_such() -> None:
    some = [asked("agent-0", 8), asked("agent-0", 20), asked("agent-0", 30)]
    assert counts(*some, spells=[KILLED]) == {NOBODY: [3, 3]}


def test_a_request_to_an_agent_that_is_itself_harmed_does_not_count() -> None:
    some = [asked("agent-2", 11, fine=False), asked("agent-0", 11)]
    assert counts(*some, spells=[AGENT]) == {"agent cut off": [1, 1]}


def test_while_the_only_tag_index_is_away_nothing_else_is_to_blame() -> None:
    one = asked("agent-0", 12, fine=False)
    assert counts(one, spells=[KILLED, INDEX], sole_index=True) == {"tag-index killed": [1, 0]}
    assert counts(one, spells=[KILLED, INDEX]) == {
        "origin killed": [1, 0], "tag-index killed": [1, 0]
    }  # fmt: skip


def test_runs_are_summed_and_failures_kept_with_what_befell_whom() -> None:
    run = weighed(
        [asked("agent-0", 11), asked("agent-0", 12, fine=False)], [KILLED], sole_index=False
    )
    total: Availability = summed([run, run])["origin killed"]
    assert (total.asked, total.share) == (4, 0.5)
    assert len(total.failed) == 2
    assert "origin-1 killed" in total.failed[0]
