"""The first host that has a thing is heard, and one that hangs is not waited for."""

import asyncio
import time
from collections.abc import Mapping

import pytest

from octopull.clients import failover
from octopull.clients.failover import first_heard, first_holder
from octopull.kernel.errors import Corrupt, Fault, NotFound, Pending, Unavailable
from octopull.placement.health import Health
from support.waiting import until

HOSTS = ["a", "b", "c"]


class Hosts:
    """Answers by host: a text, a fault, or none ever."""

    def __init__(self, answers: Mapping[str, str | Fault | None]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.given_up: list[str] = []
        self.health = Health()

    async def __call__(self, host: str) -> str:
        self.asked.append(host)
        answer = self.answers[host]
        if answer is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.append(host)
        if isinstance(answer, Fault):
            raise answer
        assert answer is not None
        return answer

    async def first(self) -> str:
        return await first_holder(HOSTS, self.health, self)

    async def heard(self) -> str:
        return await first_heard(HOSTS, self.health, self)

    def order(self) -> list[str]:
        return self.health.order(HOSTS, time.monotonic())


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "HEDGE_S", 0.01)


async def test_a_host_that_answers_is_the_only_one_asked() -> None:
    hosts = Hosts({"a": "here", "b": "here, too", "c": None})
    assert await hosts.first() == "here"
    assert hosts.asked == ["a"]


async def test_hosts_that_lack_it_or_are_away_are_passed_over() -> None:
    hosts = Hosts({"a": NotFound("no"), "b": Unavailable("away"), "c": "here"})
    assert await hosts.first() == "here"
    assert hosts.order() == ["a", "c", "b"]


@pytest.mark.usefixtures("soon")
async def test_a_host_that_hangs_is_given_up_for_the_next_and_asked_last_from_then_on() -> None:
    hosts = Hosts({"a": None, "b": NotFound("no"), "c": "here"})
    assert await hosts.first() == "here"
    assert hosts.asked == ["a", "b", "c"]
    assert hosts.given_up == ["a"]
    assert hosts.order() == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"a": NotFound("no"), "b": NotFound("no"), "c": NotFound("no")}, NotFound),
        ({"a": NotFound("no"), "b": Unavailable("away"), "c": NotFound("no")}, Unavailable),
        ({"a": Unavailable("x"), "b": Unavailable("y"), "c": Unavailable("z")}, Unavailable),
        ({"a": Corrupt("wrong bytes"), "b": "here", "c": "here"}, Corrupt),
    ],
)
async def test_nobody_says_not_found_unless_all_say_so(
    answers: Mapping[str, str | Fault | None], kind: type[Fault]
) -> None:
    with pytest.raises(kind) as raised:
        await Hosts(answers).first()
    assert type(raised.value) is kind
    assert raised.value in answers.values() or kind is Unavailable


@pytest.mark.usefixtures("soon")
async def test_who_gives_up_leaves_no_question_behind() -> None:
    hosts = Hosts(dict.fromkeys(HOSTS))
    asking = asyncio.create_task(hosts.first())

    async def all_asked() -> bool:
        return len(hosts.asked) == len(HOSTS)

    await until(all_asked, 10)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert sorted(hosts.given_up) == HOSTS


async def test_without_hosts_nothing_is_known() -> None:
    with pytest.raises(Unavailable):
        await first_holder([], Health(), Hosts({}))


@pytest.mark.usefixtures("soon")
async def test_whoever_answers_is_heard_whatever_it_says() -> None:
    for answer in (NotFound("no"), Pending("not yet"), Corrupt("no sense")):
        hosts = Hosts({"a": None, "b": answer, "c": "here"})
        with pytest.raises(type(answer)):
            await hosts.heard()
        assert hosts.asked == ["a", "b"]
        assert hosts.order() == ["b", "c", "a"]
    hosts = Hosts({"a": Unavailable("away"), "b": "here", "c": None})
    assert await hosts.heard() == "here"
    with pytest.raises(Unavailable):
        await Hosts(dict.fromkeys(HOSTS, Unavailable("away"))).heard()


def find_down(hosts: Hosts, *down: str) -> None:
    for host in down:
        for _ in range(hosts.health.hysteresis.fails):
            hosts.health.checked(host, passed=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "DOWN_S", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_host_that_is_down_is_asked_last_and_not_waited_for_while_others_are_up() -> None:
    hosts = Hosts({"a": None, "b": NotFound("no"), "c": NotFound("no")})
    find_down(hosts, "a")
    with pytest.raises(Unavailable, match="a is down"):
        await hosts.first()
    assert hosts.asked == ["b", "c", "a"]


async def test_a_host_that_is_down_and_answers_is_heard() -> None:
    hosts = Hosts({"a": "here", "b": NotFound("no"), "c": NotFound("no")})
    find_down(hosts, "a")
    assert await hosts.first() == "here"


@pytest.mark.usefixtures("impatient")
async def test_if_all_are_down_they_are_waited_for_as_ever() -> None:
    slow = asyncio.Event()

    async def call(host: str) -> str:
        asyncio.get_running_loop().call_later(0.05, slow.set)
        await slow.wait()
        return host

    hosts = Hosts({})
    find_down(hosts, *HOSTS)
    assert await first_holder(HOSTS, hosts.health, call) == "a"
