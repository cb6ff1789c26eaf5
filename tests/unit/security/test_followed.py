"""Files that are read anew: what is wrong, or on its way, changes nothing."""

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from octopull.kernel.errors import Misuse
from octopull.security.followed import Beside, FollowedFile


def parse(content: bytes) -> int:
    try:
        return int(content)
    except ValueError as error:
        raise Misuse("no number") from error


def refused() -> float | None:
    return REGISTRY.get_sample_value("octopull_access_files_refused", {"file": "number"})


async def test_a_file_counts_as_it_is_once_it_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    followed = FollowedFile(str(path), "number", parse)
    assert followed.now == 1
    path.write_text("22")
    await followed.look()
    assert followed.now == 1, "it may be half of what will be written"
    await followed.look()
    assert followed.now == 22


async def test_a_file_that_is_wrong_or_gone_changes_nothing_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    followed = FollowedFile(str(path), "number", parse)
    for break_it in (lambda: path.write_text("none"), path.unlink):
        break_it()
        for _ in range(2):
            await followed.look()
        assert (followed.now, refused()) == (1, 1)
    path.write_text("3")
    for _ in range(2):
        await followed.look()
    assert (followed.now, refused()) == (3, 0)


@pytest.mark.parametrize("content", [None, "none"])
def test_a_file_that_is_wrong_from_the_start_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Misuse, match=str(path)):
        FollowedFile(str(path), "number", parse)


async def test_what_a_file_names_is_followed_even_if_it_was_not_there(tmp_path: Path) -> None:
    path, key, other = (tmp_path / name for name in ("file", "key", "other"))
    beside = Beside(str(path))

    def with_keys(content: bytes) -> list[int]:
        return [parse(beside.read(name)) for name in content.decode().split()]

    async def looked() -> list[int]:
        await followed.look()
        await followed.look()
        return followed.now

    path.write_text("key")
    key.write_text("1")
    followed = FollowedFile(str(path), "number", with_keys, beside)
    assert followed.now == [1]
    key.write_text("22")
    assert await looked() == [22]
    path.write_text("key other")
    assert await looked() == [22], "one is not there"
    assert refused() == 1
    other.write_text("3")
    assert await looked() == [22, 3]
    key.unlink()
    assert await looked() == [22, 3]
    key.write_text("1")
    assert await looked() == [1, 3]
    assert refused() == 0
