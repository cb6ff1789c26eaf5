"""The file of rules: every mistake at once, and read anew without losing what counts."""

import asyncio
from pathlib import Path

import pytest

from octopull.config.replication import ReplicationSettings
from octopull.kernel.errors import Misuse
from octopull.replication.rules_file import RulesFile
from support.replicating import remote, rules, written
from support.waiting import until

CHANGED_S = 20.0
EU, US = remote("eu", "https://eu.example/mirror"), remote("us", "http://us.example:5000")


async def test_changed_rules_count_at_once_and_wrong_ones_never(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(rules(path, EU))
    following = asyncio.create_task(file.follow())

    async def refused() -> bool:
        return bool(file.refused)

    try:
        assert list(file.remotes_of("team/app")) == ["eu"]
        path.write_text("remotes: [{name: eu}]\nrules: nonsense\n")
        await until(refused, CHANGED_S)
        assert list(file.remotes_of("team/app")) == ["eu"]
        file.changed.clear()
        path.unlink()
        rules(path, EU, US)
        async with asyncio.timeout(CHANGED_S):
            await file.changed.wait()
        assert (list(file.remotes_of("team/app")), file.refused) == (["eu", "us"], "")
    finally:
        following.cancel()


async def test_whoever_catches_up_goes_by_the_rules_as_they_are_now(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(rules(path, EU))
    rules(path, EU, US)
    assert list(file.remotes_of("team/app")) == ["eu"]
    await file.catch_up()
    assert list(file.remotes_of("team/app")) == ["eu", "us"]


async def test_a_file_that_is_being_written_does_not_count_yet(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(rules(path, EU))
    for text in ("remotes: []\n", "remotes: []\nrules: []\n"):
        path.write_text(text)
        assert not await file.look()
        assert list(file.remotes_of("team/app")) == ["eu"]
    assert await file.look()
    assert not list(file.remotes_of("team/app"))


def test_every_mistake_in_the_file_is_told_at_once(tmp_path: Path) -> None:
    document = {
        "remotes": [
            {"name": "a b", "url": "https://a.example"},
            {"name": "b", "url": "https://user:secret@b.example"},
            {"name": "c", "url": "ftp://c.example"},
            {"name": "d", "url": "https://d.example/Upper"},
            {"name": "e", "url": "https://e.example", "bytes_per_s": 0, "tags_at_ounce": 1},
            {"name": "f", "url": "https://f.example", "credentials": "x", "credential_helper": "y"},
            {"name": "g", "url": "https://g.example", "username_variable": "USER"},
            {"name": "h", "url": "https://h.example", "retry_s": 5, "retry_s_max": 1},
            {"name": "i", "url": "https://i.example", "chunk_bytes": 1},
        ],
        "rules": [{"match": "(", "remotes": ["a"]}, {"match": ".*"}],
    }
    with pytest.raises(Misuse) as told:
        RulesFile(written(tmp_path / "rules.yaml", document))
    text = str(told.value)
    for expected in (
        "remotes[0]", "remotes[1]: credentials belong", "remotes[2]: a remote's url",
        "remotes[3]: a remote's url", "did you mean tags_at_once?", "remotes[5]: credentials come",
        "remotes[6]: name the variables", "remotes[7]: pauses", "remotes[8]: a chunk",
        "rules[0]: match is no", "rules[1].remotes: required",
    ):  # fmt: skip
        assert expected in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"remotes": [EU, EU]}, "name of its own"),
        ({"remotes": [EU], "rules": [{"match": ".*", "remotes": ["eu", "us"]}]}, "us"),
    ],
)
def test_remotes_are_named_once_and_rules_name_no_others(
    tmp_path: Path, document: object, told: str
) -> None:
    with pytest.raises(Misuse, match=told):
        RulesFile(written(tmp_path / "rules.yaml", document))


def test_a_file_that_is_not_there_is_refused_from_the_start(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="rules"):
        RulesFile(ReplicationSettings(rules=str(tmp_path / "rules.yaml")))
    assert not list(RulesFile(ReplicationSettings()).remotes_of("team/app"))


def test_rules_are_looked_at_every_so_often() -> None:
    with pytest.raises(Misuse, match="every so often"):
        ReplicationSettings(check_s=0)
