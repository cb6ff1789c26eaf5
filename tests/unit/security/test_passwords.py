"""Files of passwords, and comparing with them: real hashes, and what is compared how often."""

import asyncio
import contextlib
import string

import argon2
import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse, Unavailable
from octopull.security import htpasswd, passwords
from octopull.security.passwords import Passwords


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
