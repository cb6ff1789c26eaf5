"""What counts as a majority, and what does not."""

import pytest

from octopull.consensus.events import Current, Send, SendBook
from octopull.consensus.leadership import Leadership
from octopull.consensus.limits import Limits
from octopull.consensus.log import Log
from octopull.consensus.messages import Append, Appended, Entry

TERM = 4
BIRTH = 77


@pytest.fixture
def leads() -> Leadership:
    """Of two entries, of which the first is of an older term, and two others."""
    log = Log(0, 0, [Entry(2, b"old")])
    found = Leadership.begun(TERM, log, Limits(), ["a", "b"], 0.0)
    log.replace(1, [Entry(TERM, b"")])
    return found


def has(leads: Leadership, peer: str, index: int, birth: int = 0, about: int = 0) -> None:
    answer = Appended(term=TERM, matched=True, index=index, round=about, birth=birth)
    leads.appended(peer, answer, 1.0)


def said(leads: Leadership, peer: str) -> Append:
    """What ``peer`` hears next."""
    for one in leads.followers.values():
        one.due_s = 0.0
    found = [
        one.message for one in leads.news(0, 1.0) if isinstance(one, Send) and one.peer == peer
    ]
    assert isinstance(found[0], Append)
    return found[0]


def test_an_entry_of_an_older_term_is_committed_with_one_of_this() -> None:
    log = Log(0, 0, [Entry(2, b"old")])
    leads = Leadership.begun(TERM, log, Limits(), ["a", "b"], 0.0)
    log.replace(1, [Entry(TERM, b"")])
    has(leads, "a", 1)
    assert leads.agreed_index() == 0
    has(leads, "a", 2)
    assert leads.agreed_index() == 2


def test_one_that_lost_its_disk_makes_no_majority(leads: Leadership) -> None:
    leads.ask(1)
    about = said(leads, "a").round
    has(leads, "a", 2, BIRTH, about)
    assert leads.agreed_index() == 0
    assert list(leads.current()) == []
    assert not leads.is_heard(5.0)
    has(leads, "b", 2, about=about)
    assert leads.agreed_index() == 2
    assert list(leads.current()) == [Current(1)]


def test_one_that_lost_its_disk_joins_after_a_majority_without_it_was_heard(
    leads: Leadership,
) -> None:
    has(leads, "a", 0, BIRTH)
    assert said(leads, "a").joins is None
    has(leads, "b", 2, about=said(leads, "b").round)
    joins = said(leads, "a").joins
    assert joins is not None
    assert (joins.birth, joins.index) == (BIRTH, 2)


def test_an_answer_from_before_the_disk_was_lost_is_not_believed(leads: Leadership) -> None:
    has(leads, "a", 0, BIRTH)
    has(leads, "a", 2)
    assert leads.agreed_index() == 0
    has(leads, "a", 2, about=said(leads, "a").round)
    assert leads.agreed_index() == 2


def test_a_read_is_not_confirmed_by_what_was_said_before_it(leads: Leadership) -> None:
    about = said(leads, "a").round
    leads.ask(1)
    has(leads, "a", 2, about=about)
    assert list(leads.current()) == []


def test_who_lacks_what_the_log_forgot_gets_the_book_once(leads: Leadership) -> None:
    leads.log.forget(2)
    leads.appended("a", Appended(term=TERM, matched=False, index=0, round=0), 1.0)
    assert SendBook("a") in list(leads.news(2, 1.0))
    assert SendBook("a") not in list(leads.news(2, 9.0))
