"""Files of passwords, and comparing with them: real hashes, and what is compared how often."""

import asyncio
import contextlib
import string
import threading
from collections.abc import Iterator

import argon2
import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse, TooMany, Unavailable
from octopull.security import htpasswd, passwords
from octopull.security.passwords import WAITING_PER_ADDRESS_MAX, Passwords


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


ALICE = hashed("alice's")
BOB = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("bob's")
FILE = f"# users\n\nalice:{ALICE.replace('$2b$', '$2y$')}\nbob:{BOB}\n".encode()


async def test_the_right_password_matches_and_no_other() -> None:
    users = htpasswd.parse(FILE)
    asked = Passwords(lambda: users)
    for user in ("alice", "bob"):
        assert await asked.match(user, f"{user}'s")
        assert not await asked.match(user, "wrong")
        assert not await asked.match(user, "")
    assert not await asked.match("carol", "alice's")
    assert not await Passwords(dict).match("alice", "alice's")


async def test_a_password_counts_no_longer_once_the_file_says_otherwise() -> None:
    users = {"alice": ALICE}
    asked = Passwords(lambda: users)
    assert await asked.match("alice", "alice's")
    users["alice"] = hashed("new")
    assert not await asked.match("alice", "alice's")
    assert await asked.match("alice", "new")
    del users["alice"]
    users["bob"] = BOB
    assert not await asked.match("alice", "new")


async def test_answers_are_remembered_and_unknown_users_are_compared_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []

    def counting(password: str, hashed: str) -> bool:
        compared.append(hashed)
        return bcrypt.checkpw(password.encode(), hashed.encode())

    monkeypatch.setattr(passwords, "is_of", counting)
    asked = Passwords(lambda: {"alice": ALICE})
    for _ in range(5):
        assert await asked.match("alice", "alice's")
        assert not await asked.match("mallory", "alice's")
    # One comparison each: whoever is unknown takes as long as whoever is not.
    assert compared == [ALICE, ALICE]


async def test_unknown_users_take_as_long_as_known_ones_whose_hashes_cost_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []
    monkeypatch.setattr(passwords, "is_of", lambda _, hashed: compared.append(hashed))
    asked = Passwords(lambda: {"alice": ALICE, "bob": BOB})
    unknown = [f"user {number}" for number in range(200)]
    for user in unknown:
        assert not await asked.match(user, "guess")
    assert 60 < compared.count(ALICE) < 140
    before = compared.copy()
    compared.clear()
    for user in unknown:
        assert not await Passwords(lambda: {"alice": ALICE, "bob": BOB}).match(user, "another")
    assert compared == before, "asking again tells no more"


async def test_too_many_logins_at_once_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 2)
    asked = Passwords(lambda: {"alice": ALICE})
    answers = await asyncio.gather(
        *(asked.match("alice", f"guess {number}") for number in range(8)), return_exceptions=True
    )
    assert any(isinstance(one, Unavailable) for one in answers)
    assert await asked.match("alice", "alice's")


class Held:
    """Comparisons that go on until they are let go; ``right`` is the only password that matches."""

    def __init__(self, right: str) -> None:
        self.right = right
        self.ended = threading.Event()
        self.compared: list[str] = []

    def __call__(self, password: str, _: str) -> bool:
        self.compared.append(password)
        if password != self.right:
            self.ended.wait(30)
        return password == self.right


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found = Held("alice's")
    monkeypatch.setattr(passwords, "is_of", found)
    yield found
    found.ended.set()


async def test_one_addresss_guesses_leave_places_for_others(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", WAITING_PER_ADDRESS_MAX + 1)
    asked = Passwords(lambda: {"alice": ALICE})
    guesses = [
        asyncio.ensure_future(asked.match("alice", f"guess {number}", "192.0.2.1"))
        for number in range(50)
    ]
    refused, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(one.exception(), TooMany) for one in refused)
    assert len(refused) == 50 - WAITING_PER_ADDRESS_MAX
    other = asyncio.ensure_future(asked.match("alice", "alice's", "192.0.2.2"))
    held.ended.set()
    assert await other
    assert not any(await asyncio.gather(*set(guesses) - refused))
    assert await asked.match("alice", "alice's", "192.0.2.1"), "places are given back"


async def test_who_knew_the_password_is_let_in_while_guesses_from_everywhere_wait(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED_MAX", 8)
    monkeypatch.setattr(passwords, "REMEMBERED_S", 0.0)
    asked = Passwords(lambda: {"alice": ALICE})
    held.ended.set()
    assert await asked.match("alice", "alice's")
    for number in range(9):
        assert not await asked.match("alice", f"early guess {number}")
    held.ended.clear()
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    guesses = [
        asyncio.ensure_future(asked.match("alice", f"guess {number}", f"192.0.2.{number}"))
        for number in range(9)
    ]
    await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
    async with asyncio.timeout(10):
        assert await asked.match("alice", "alice's", "192.0.2.1")
    held.ended.set()
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_a_clients_connections_that_show_the_same_at_once_are_compared_once(
    held: Held,
) -> None:
    asked = Passwords(lambda: {"alice": ALICE})
    answers = await asyncio.gather(*(asked.match("alice", "alice's", "a") for _ in range(50)))
    assert all(answers)
    assert held.compared == ["alice's"]


async def test_passwords_beyond_bcrypts_length_match_as_apaches_do() -> None:
    long = "x" * 100
    users = {"alice": bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()}
    assert await Passwords(lambda: users).match("alice", long)


@pytest.mark.parametrize(
    "line",
    [
        "alice:$apr1$l4m$sNP8KqNPqnGYZuKiiDrX4/",
        "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "alice:secret",
        "alice",
        f":{ALICE}",
        f"bob:{BOB}",
        f"carol:{ALICE.replace('$04$', '$31$')}",
    ],
    ids=["MD5", "SHA", "in clear", "no colon", "no name", "cheap argon2", "dear bcrypt"],
)
def test_what_is_cheap_to_guess_or_no_line_is_refused_without_being_shown(line: str) -> None:
    with pytest.raises(Misuse) as found:
        htpasswd.parse(FILE + line.encode())
    assert "line 5" in str(found.value)
    for part in line.split(":")[1:]:
        assert not part or part not in str(found.value)


users = st.text(string.ascii_letters, min_size=1, max_size=9)


@given(st.dictionaries(users, st.sampled_from([ALICE, BOB]), max_size=5))
def test_a_file_is_read_as_it_was_written(found: dict[str, str]) -> None:
    lines = "".join(f"{user}:{one}\n" for user, one in found.items())
    assert htpasswd.parse(lines.encode()) == found


@given(st.binary(max_size=200))
def test_any_file_is_one_of_passwords_or_a_misuse(content: bytes) -> None:
    with contextlib.suppress(Misuse):
        htpasswd.parse(content)
