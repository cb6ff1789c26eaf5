"""Preheats: whose they are, what a tracker knows of them, and when it forgets."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound, Unavailable
from octopull.placement import labels as label
from octopull.placement.heartbeats import (
    REPORTS_MAX,
    Heartbeat,
    Preheat,
    Progress,
    State,
    check_platform,
)
from octopull.placement.preheats import ALIVE_S_MIN, FAILURES_MAX, PREHEATS_MAX, SILENT, Preheats

TTL_S = 100.0
DIGEST = str(Digest.of(b"manifest"))
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,10}", fullmatch=True)
VALUES = st.from_regex(r"[!-+\--<>-~]{1,10}", fullmatch=True)
LABELS = st.dictionaries(NAMES, VALUES, max_size=4)
FEW = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


def preheat(run: int = 1, **more: Any) -> Preheat:
    return Preheat(**{"namespace": "demo", "digest": DIGEST, "run": run, **more})


def beat(number: int, *progress: Progress, **more: Any) -> Heartbeat:
    return Heartbeat(
        **{"id": f"{number:040x}", "interval_s": 1.0, "progress": list(progress), **more}
    )


def told(one: Preheat, state: State, **more: Any) -> Progress:
    return Progress(**{"id": one.id, "run": one.run, "state": state, **more})


def table() -> Preheats:
    return Preheats(TTL_S, started=0.0)


@given(LABELS.filter(bool))
def test_labels_are_read_as_they_are_written(labels: dict[str, str]) -> None:
    text = ",".join(f"{name}={value}" for name, value in labels.items())
    assert label.parse(text) == labels


@given(st.text(max_size=40))
def test_any_text_is_labels_or_misuse(text: str) -> None:
    with contextlib.suppress(Misuse):
        label.check(label.parse(text))


@pytest.mark.parametrize(
    "text", ["", "a", "=1", "a=", "a=1,a=2", "a=1,", "a b=1", "a=\n", "a" * 64 + "=1"]
)
def test_these_are_no_labels(text: str) -> None:
    with pytest.raises(Misuse):
        label.parse(text)


@given(st.lists(FEW.filter(bool), max_size=3), FEW)
def test_an_agent_is_chosen_by_all_labels_of_any_selector(
    selectors: list[dict[str, str]], labels: dict[str, str]
) -> None:
    expected = not selectors or any(
        all(labels.get(name) == value for name, value in one.items()) for one in selectors
    )
    assert label.chosen(selectors, labels) == expected
    tracker, one = table(), preheat(agents=selectors)
    tracker.put(one, 0.0)
    assert tracker.beat(beat(1, labels=labels), 1.0).preheats == [one] * expected
    assert tracker.standing(one.id, 1.0).agents == expected


def test_the_zone_is_a_label() -> None:
    tracker = table()
    tracker.put(preheat(agents=[{"zone": "z1"}]), 0.0)
    assert tracker.beat(beat(1, zone="z1"), 0.0).preheats
    assert not tracker.beat(beat(2, zone="z2"), 0.0).preheats


@given(
    st.lists(FEW.filter(bool), max_size=3),
    st.lists(st.sampled_from(["a/b", "c/d/e"]), max_size=3),
    st.randoms(),
)
def test_an_id_follows_from_the_content_in_whatever_order(
    selectors: list[dict[str, str]], platforms: list[str], chance: Any
) -> None:
    one = preheat(agents=selectors, platforms=platforms)
    other = preheat(
        run=7,
        agents=[
            dict(chance.sample([*s.items()], len(s)))
            for s in chance.sample(selectors, len(selectors))
        ],
        platforms=chance.sample(platforms, len(platforms)),
    )
    assert one.id == other.id
    changes: list[dict[str, Any]] = [
        {"namespace": "x"},
        {"blob": True},
        {"digest": str(Digest.of(b""))},
        {"agents": [*selectors, {"z": "1"}]},
        {"platforms": [*platforms, "z/z"]},
    ]
    for change in changes:
        kept: dict[str, Any] = {"agents": selectors, "platforms": platforms}
        assert preheat(**{**kept, **change}).id != one.id


def test_what_was_said_last_is_what_stands() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    half = told(one, State.WORKING, bytes_done=5, bytes_total=10)
    whole = told(one, State.DONE, bytes_done=10, bytes_total=10)
    failed = told(one, State.FAILED, reason="the disk is full")
    for number, progress in ((1, half), (2, whole), (3, failed)):
        tracker.beat(beat(number, progress), 1.0)
    standing = tracker.standing(one.id, 1.0)
    assert (standing.agents, standing.done, standing.failed) == (3, 1, 1)
    assert (standing.bytes_done, standing.bytes_total) == (15, 20)
    assert [(one.agent, one.reason) for one in standing.failures] == [
        (f"{3:040x}", "the disk is full")
    ]
    # Who ended is not told again, who is at it is.
    named = [bool(tracker.beat(beat(number), 2.0).preheats) for number in (1, 2, 3, 4)]
    assert named == [True, False, False, True]


def test_progress_of_another_run_does_not_count() -> None:
    tracker, old, new = table(), preheat(1), preheat(2)
    tracker.put(old, 0.0)
    tracker.beat(beat(1, told(old, State.DONE)), 1.0)
    tracker.put(new, 1.0)
    assert tracker.standing(old.id, 1.0).done == 0
    assert tracker.beat(beat(1, told(old, State.DONE)), 2.0).preheats == [new]
    tracker.put(old, 2.0)
    assert tracker.standing(old.id, 2.0).run == 2
    tracker.beat(beat(1, told(new, State.DONE)), 2.0)
    tracker.put(new, 3.0)
    assert tracker.standing(old.id, 3.0).done == 1


def test_a_cancelled_run_stays_so_and_those_at_work_hear_of_it() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    tracker.cancel(one.id, 1.0)
    tracker.put(one, 1.0)
    assert tracker.standing(one.id, 1.0).cancelled
    answer = tracker.beat(beat(1, told(one, State.WORKING)), 1.0)
    assert (answer.preheats, answer.cancelled) == ([], [one.id])
    assert tracker.beat(beat(2), 1.0).cancelled == []
    tracker.put(preheat(2), 2.0)
    assert tracker.beat(beat(1), 2.0).preheats == [preheat(2)]


def test_an_agent_that_falls_silent_at_work_has_failed() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    tracker.beat(beat(1, told(one, State.WORKING)), 0.0)
    tracker.beat(beat(2, told(one, State.DONE)), 0.0)
    tracker.beat(beat(3), 0.0)
    for expire in (False, True):
        now = ALIVE_S_MIN
        if expire:
            tracker.expire(now)
        standing = tracker.standing(one.id, now)
        assert (standing.agents, standing.done, standing.failed) == (1, 0, 1)
        assert standing.failures[0].reason == SILENT
    tracker.beat(beat(1, told(one, State.WORKING)), ALIVE_S_MIN)
    assert tracker.standing(one.id, ALIVE_S_MIN).failed == 0


def test_an_agent_lives_three_of_its_intervals() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    tracker.beat(beat(1, interval_s=20.0), 0.0)
    assert tracker.standing(one.id, 59.0).agents == 1
    assert tracker.standing(one.id, 60.0).agents == 0


def test_a_tracker_is_settled_when_every_agent_had_time_to_speak() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    assert not tracker.standing(one.id, 22.0).settled
    assert tracker.standing(one.id, 22.5).settled
    tracker.beat(beat(1, interval_s=2.0), 0.0)
    assert not tracker.standing(one.id, 2.9).settled
    assert tracker.standing(one.id, 3.0).settled


@pytest.mark.parametrize(
    "ask", [lambda t, i, now: t.standing(i, now), lambda t, i, now: t.cancel(i, now)]
)
def test_a_preheat_is_forgotten_in_time_and_not_before(
    ask: Callable[[Preheats, str, float], None],
) -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    tracker.put(one, 50.0)
    ask(tracker, one.id, 149.0)
    assert tracker.beat(beat(1), 150.0).preheats == []
    with pytest.raises(NotFound):
        ask(tracker, one.id, 150.0)
    with pytest.raises(NotFound):
        ask(table(), one.id, 0.0)


def test_there_is_a_limit_and_time_makes_room() -> None:
    tracker = table()
    many = [preheat(namespace=f"n{number}") for number in range(PREHEATS_MAX + 1)]
    for one in many[:-1]:
        tracker.put(one, 0.0)
    with pytest.raises(Unavailable):
        tracker.put(many[-1], 1.0)
    tracker.put(many[0], 1.0)
    assert len(tracker.beat(beat(1), 1.0).preheats) == REPORTS_MAX
    tracker.put(many[-1], TTL_S)
    assert tracker.standing(many[-1].id, TTL_S).agents == 0


def test_many_failures_are_counted_and_some_are_named() -> None:
    tracker, one = table(), preheat()
    tracker.put(one, 0.0)
    for number in range(FAILURES_MAX + 5):
        tracker.beat(beat(number, told(one, State.FAILED, reason="no")), 0.0)
    standing = tracker.standing(one.id, 1.0)
    assert (standing.failed, len(standing.failures)) == (FAILURES_MAX + 5, FAILURES_MAX)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.just(0)),
        st.tuples(st.sampled_from(["working", "done", "failed", "beat"]), st.integers(1, 4)),
        st.tuples(st.just("later"), st.integers(1, 60)),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_counts_of_a_standing_always_fit(steps: list[tuple[str, int]]) -> None:
    tracker, now = table(), 0.0
    for step, number in steps:
        one = preheat(run=number if step == "put" else 1)
        if step == "put":
            tracker.put(one, now)
        elif step == "later":
            now += number
        elif step == "beat":
            tracker.beat(beat(number), now)
        elif step == "cancel":
            try:
                tracker.cancel(one.id, now)
            except NotFound:
                continue
        else:
            progress = told(one, State(step), bytes_done=1, bytes_total=2)
            tracker.beat(beat(number, progress), now)
        try:
            standing = tracker.standing(one.id, now)
        except NotFound:
            continue
        assert 0 <= standing.done + standing.failed <= standing.agents <= 4
        assert standing.bytes_done <= standing.bytes_total
        assert len(standing.failures) == standing.failed


FIELDS = st.sampled_from(
    ["id", "interval_s", "labels", "progress", "namespace", "digest", "agents"]
)
DOCUMENTS = st.recursive(
    st.none() | st.text(max_size=10) | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
)


@given(st.binary(max_size=60) | DOCUMENTS.map(msgspec.json.encode))
@pytest.mark.parametrize("shape", [Heartbeat, Preheat])
def test_any_body_is_read_or_refused(shape: type[object], body: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, Misuse):
        msgspec.json.decode(body, type=shape)


@given(LABELS, st.floats(0.1, 3600), st.integers(0, 2**53 - 1), st.text(max_size=300))
def test_heartbeats_come_through_as_they_were_sent(
    labels: dict[str, str], interval_s: float, count: int, reason: str
) -> None:
    progress = told(preheat(), State.FAILED, bytes_done=count, reason=reason)
    sent = beat(1, progress, labels=labels, interval_s=interval_s)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Heartbeat) == sent


@pytest.mark.parametrize(
    "text", ["linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "a b/c"]
)
def test_these_are_no_platforms(text: str) -> None:
    with pytest.raises(Misuse):
        check_platform(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: preheat(agents=[{}]),
        lambda: preheat(agents=[{"a": "b"}] * 65),
        lambda: preheat(platforms=["a/b"] * 17),
        lambda: preheat(run=-1),
        lambda: preheat(digest="sha256:0"),
        lambda: preheat(namespace="../x"),
        lambda: beat(1, interval_s=0),
        lambda: beat(1, interval_s=float("nan")),
        lambda: beat(1, id="x"),
        lambda: beat(1, zone="z" * 65),
        lambda: beat(1, labels={str(n): "1" for n in range(33)}),
        lambda: beat(1, *[told(preheat(), State.DONE)] * 65),
        lambda: told(preheat(), State.DONE, reason="x" * 301),
        lambda: told(preheat(), State.DONE, bytes_done=-1),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_misuse(make: Callable[[], object]) -> None:
    with pytest.raises(Misuse):
        make()
