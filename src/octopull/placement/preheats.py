"""Which agents a preheat is for, and how far they are, as one tracker was told.

Nothing here is precious: those who preheat say it again while they wait, agents with every
heartbeat. Times are seconds of a clock that never goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from octopull.kernel.errors import NotFound, Unavailable
from octopull.placement.heartbeats import (
    REPORTS_MAX,
    Answer,
    Failure,
    Heartbeat,
    Preheat,
    Progress,
    Standing,
    State,
)
from octopull.placement.labels import chosen

PREHEATS_MAX = 200
AGENTS_MAX = 50_000
FAILURES_MAX = 20
"""Failures that are named; the others are counted."""

ALIVE_BEATS = 3.0
"""Intervals without a heartbeat after which an agent counts as gone ..."""
ALIVE_S_MIN = 10.0
"""... but never sooner than this: a busy host may be late."""
INTERVAL_S_USUAL = 15.0
SILENT = "fell silent before it was done"


@dataclass(slots=True)
class _Agent:
    labels: Mapping[str, str]
    interval_s: float
    until: float


@dataclass(slots=True)
class _Kept:
    """A preheat, until when it stands, and what agents said of its present run."""

    preheat: Preheat
    until: float
    cancelled: bool = False
    progress: dict[str, Progress] = field(default_factory=dict[str, Progress])

    def open_for(self, agent: str, labels: Mapping[str, str]) -> bool:
        """Whether ``agent`` is to do it, and has not said that it ended."""
        told = self.progress.get(agent)
        ended = told is not None and told.state is not State.WORKING
        return not self.cancelled and not ended and chosen(self.preheat.agents, labels)


@dataclass(slots=True)
class Preheats:
    """Agents by their id and preheats by theirs, each forgotten some time after its last word."""

    ttl_s: float
    """How long a preheat stands after it was put last."""
    started: float
    _agents: dict[str, _Agent] = field(default_factory=dict[str, _Agent])
    _kept: dict[str, _Kept] = field(default_factory=dict[str, _Kept])

    def put(self, preheat: Preheat, now: float) -> None:
        """Let it stand for ``ttl_s`` more; of a higher run, begin anew.

        A run that is over stays so: one that was cancelled, or that a higher one replaced.

        Raises:
            Unavailable: there are too many.

        """
        kept = self._find(preheat.id, now)
        until = now + self.ttl_s
        if kept is None and len(self._kept) >= PREHEATS_MAX:
            self.expire(now)
            if len(self._kept) >= PREHEATS_MAX:
                raise Unavailable("too many preheats at once", most=PREHEATS_MAX)
        if kept is None or preheat.run > kept.preheat.run:
            self._kept[preheat.id] = _Kept(preheat, until)
        elif preheat.run == kept.preheat.run and not kept.cancelled:
            kept.until = until

    def cancel(self, preheat_id: str, now: float) -> None:
        """Take it back; remembered for as long as it would have stood.

        Raises:
            NotFound: no such preheat.

        """
        self._known(preheat_id, now).cancelled = True

    def beat(self, told: Heartbeat, now: float) -> Answer:
        """Note an agent and its progress; name what it is to do, oldest first."""
        labels = told.all_labels
        if told.id in self._agents or len(self._agents) < AGENTS_MAX:
            alive_s = max(ALIVE_BEATS * told.interval_s, ALIVE_S_MIN)
            self._agents[told.id] = _Agent(labels, told.interval_s, now + alive_s)
            for one in told.progress:
                kept = self._find(one.id, now)
                if kept is not None and kept.preheat.run == one.run:
                    kept.progress[told.id] = one
        to_do = [
            kept.preheat
            for kept in self._kept.values()
            if kept.until > now and kept.open_for(told.id, labels)
        ]
        cancelled = [
            one.id
            for one in told.progress
            if (kept := self._find(one.id, now)) is not None and kept.cancelled
        ]
        return Answer(preheats=to_do[:REPORTS_MAX], cancelled=cancelled)

    def standing(self, preheat_id: str, now: float) -> Standing:
        """How far it is.

        Raises:
            NotFound: no such preheat.

        """
        kept = self._known(preheat_id, now)
        alive = {key: one for key, one in self._agents.items() if one.until > now}
        obeying = {key for key, one in alive.items() if chosen(kept.preheat.agents, one.labels)}
        counted = [one for key, one in kept.progress.items() if key in obeying]
        failures = [
            Failure(agent=key, reason=one.reason)
            for key, one in kept.progress.items()
            if key in obeying and one.state is State.FAILED
        ]
        failures += [
            Failure(agent=key, reason=one.reason or SILENT)
            for key, one in kept.progress.items()
            if key not in alive and one.state is not State.DONE
        ]
        gone = sum(1 for one in failures if one.agent not in obeying)
        return Standing(
            run=kept.preheat.run,
            cancelled=kept.cancelled,
            settled=self._settled(alive, now),
            agents=len(obeying) + gone,
            done=sum(one.state is State.DONE for one in counted),
            failed=len(failures),
            bytes_done=sum(one.bytes_done for one in counted),
            bytes_total=sum(one.bytes_total for one in counted),
            failures=failures[:FAILURES_MAX],
        )

    def expire(self, now: float) -> None:
        """Forget agents that fell silent, and preheats whose time is over."""
        self._agents = {key: one for key, one in self._agents.items() if one.until > now}
        self._kept = {key: one for key, one in self._kept.items() if one.until > now}

    def _settled(self, alive: Mapping[str, _Agent], now: float) -> bool:
        """Whether each agent that lives had the time to say so, and half that time to spare."""
        interval_s = max((one.interval_s for one in alive.values()), default=INTERVAL_S_USUAL)
        return now - self.started >= 1.5 * interval_s

    def _find(self, preheat_id: str, now: float) -> _Kept | None:
        kept = self._kept.get(preheat_id)
        return kept if kept is not None and kept.until > now else None

    def _known(self, preheat_id: str, now: float) -> _Kept:
        kept = self._find(preheat_id, now)
        if kept is None:
            raise NotFound("no such preheat: it ended, or was put at another tracker")
        return kept
