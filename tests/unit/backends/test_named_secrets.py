"""Values from a file of lines, or from the environment."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends.named_secrets import FILE_BYTES_MAX, Secrets
from octopull.kernel.errors import Unavailable

NAMES = {"USER": "STORE_USER", "TOKEN": "STORE_TOKEN"}


async def test_lines_are_read_and_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    secrets = Secrets("the store", str(file), NAMES)
    file.write_text("# a comment\n\n USER = me \nTOKEN=a=b==\n")
    assert await secrets.read() == {"USER": "me", "TOKEN": "a=b=="}
    file.write_text("USER=you\n")
    assert await secrets.read() == {"USER": "you"}
    file.unlink()
    with pytest.raises(Unavailable, match="the store"):
        await secrets.read()


async def test_the_environment_counts_where_there_is_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORE_TOKEN", "from outside")
    monkeypatch.delenv("STORE_USER", raising=False)
    assert await Secrets("the store", "", NAMES).read() == {"TOKEN": "from outside"}
    (tmp_path / "file").write_text("USER=me")
    assert await Secrets("the store", str(tmp_path / "file"), NAMES).read() == {"USER": "me"}


@pytest.mark.parametrize("text", ["secret-word", "PASSWORD=secret-word", "USER=a\nsecret-word\n"])
async def test_other_lines_are_refused_without_quoting_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(Unavailable, match="TOKEN, USER") as told:
        await Secrets("the store", str(tmp_path / "file"), NAMES).read()
    assert "secret" not in str(told.value) + repr(told.value.details)


@given(st.binary(max_size=200))
def test_any_bytes_are_values_or_a_fault(content: bytes) -> None:
    try:
        values = Secrets("the store", "", NAMES)._parsed(content)
    except Unavailable:
        return
    assert values.keys() <= set(NAMES)
    assert FILE_BYTES_MAX
