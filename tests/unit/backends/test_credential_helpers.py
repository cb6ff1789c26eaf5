"""Docker's credential helpers, as little programs of our own."""

import asyncio
import contextlib
import json
import os
import signal
import stat
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends import credential_helpers
from octopull.backends.credential_helpers import OUTPUT_BYTES_MAX, Identity, ask, read
from octopull.backends.credentials import Credentials, Helper, IdentityToken
from octopull.backends.registry_place import place_of_upstream
from octopull.config.upstreams import UpstreamSettings
from octopull.kernel.errors import Unavailable
from support.waiting import until

SECRET = "s3cret"
TOLD = json.dumps({"ServerURL": "x", "Username": "me", "Secret": SECRET})
HELPER = Helper("test", "registry.example:5000")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def install(programs: Path, script: str, name: str = "test") -> None:
    path = programs / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def upstream() -> Identity:
    settings = UpstreamSettings(name="registry.example", credential_helper="test")
    return Identity(place_of_upstream(settings))


def dead(state: Path) -> bool:
    """Whether a process is gone, or nobody has yet looked after what is left of it."""
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_program_is_asked_for_the_registry(programs: Path, tmp_path: Path) -> None:
    install(programs, f"""echo "$@" > {tmp_path}/words; cat > {tmp_path}/input; echo '{TOLD}'""")
    found = await ask(HELPER, "other")
    assert found == Credentials("me", SECRET)
    assert (tmp_path / "words").read_text() == "get\n"
    assert (tmp_path / "input").read_text() == "registry.example:5000\n"
    assert SECRET not in repr(found)


async def test_a_token_is_told_by_its_user(programs: Path) -> None:
    install(programs, f"""echo '{{"Username": "<token>", "Secret": "{SECRET}"}}'""")
    assert await ask(HELPER, "other") == IdentityToken(SECRET)


async def test_a_program_that_does_not_read_is_fine(programs: Path) -> None:
    install(programs, f"exec 0<&-; echo '{TOLD}'")
    assert await ask(HELPER, "other") == Credentials("me", SECRET)


async def test_a_registry_that_a_program_does_not_know_is_asked_anonymously(programs: Path) -> None:
    install(programs, "echo 'credentials not found in native keychain'; exit 1")
    assert await ask(HELPER, "other") is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 1", "has no credentials of other"),
        (f"echo {SECRET}", "says something else"),
        (f"""echo '{{"Username": "me", "Secret": {{"{SECRET}": 1}}}}'""", "says something else"),
        ("echo '{}'", "says something else"),
        ("printf '\\377'", "says something else"),
        ("kill -9 $$", "has no credentials of other"),
    ],
)
async def test_what_a_program_says_wrongly_is_told_without_its_words(
    programs: Path, script: str, words: str
) -> None:
    install(programs, script)
    with structlog.testing.capture_logs() as logged, pytest.raises(Unavailable, match=words) as why:
        await ask(HELPER, "other")
    assert SECRET not in f"{why.value} {why.value.details} {why.value.__cause__} {logged}"


async def test_a_program_that_does_not_end_is_killed_with_its_children(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_helpers, "HELPER_S", 0.5)
    install(programs, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(Unavailable, match="does not answer"):
        await ask(HELPER, "other")
    state = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    await until(lambda: asyncio.to_thread(dead, state), 10)


@given(st.binary(max_size=200) | st.text(max_size=200).map(json.dumps).map(str.encode))
def test_any_output_is_credentials_or_a_fault(output: bytes) -> None:
    with contextlib.suppress(Unavailable):
        assert isinstance(read(output, "docker-credential-test"), Credentials | IdentityToken)


async def test_a_program_that_says_more_than_it_may_is_killed(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_helpers, "HELPER_S", 0.5)
    install(programs, f"head -c {OUTPUT_BYTES_MAX + 1} /dev/zero")
    with pytest.raises(Unavailable, match="does not answer"):
        await ask(HELPER, "other")


async def test_a_daemon_that_is_left_behind_keeps_nobody_waiting(
    programs: Path, tmp_path: Path
) -> None:
    install(programs, f"setsid sleep 600 & echo $! > {tmp_path}/child; echo '{TOLD}'")
    try:
        assert await ask(HELPER, "other") == Credentials("me", SECRET)
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-x", "a" * 65, "x\n"])
async def test_names_that_could_be_paths_are_refused(programs: Path, name: str) -> None:
    with pytest.raises(Unavailable, match="no proper name"):
        await ask(Helper(name, "x"), "other")


async def test_a_program_that_is_not_there_is_named(programs: Path) -> None:
    with pytest.raises(Unavailable, match=r"^docker-credential-test, .*is not installed$"):
        await ask(HELPER, "other")


async def test_an_answer_is_kept_until_it_is_refused(programs: Path, tmp_path: Path) -> None:
    install(programs, f"echo asked >> {tmp_path}/asked; echo '{TOLD}'")
    one = upstream()
    for _ in range(3):
        assert await one.read() == Credentials("me", SECRET)
    assert (tmp_path / "asked").read_text() == "asked\n"
    one.forget()
    assert await one.read() == Credentials("me", SECRET)
    assert (tmp_path / "asked").read_text() == "asked\n" * 2
