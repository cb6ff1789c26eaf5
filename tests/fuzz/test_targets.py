"""Each parser understands bytes of strangers, or says whose fault they are; more by ``make fuzz``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import corpus
from fuzz.targets import TARGETS, Target
from octopull.kernel.errors import Misuse


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_understood_or_refused(name: str) -> None:
    found = corpus.load(name)
    assert found, "make fuzz ARGS='--keep'"
    for data in (*TARGETS[name].seeds, *found):
        TARGETS[name].try_out(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_lead_into_the_parser(name: str) -> None:
    for data in TARGETS[name].seeds:
        TARGETS[name].parse(data)


@given(st.data())
def test_bytes_with_a_change_here_and_there_are_understood_or_refused(data: st.DataObject) -> None:
    target = TARGETS[data.draw(st.sampled_from(sorted(TARGETS)), label="target")]
    changed = bytearray(data.draw(st.sampled_from(target.seeds), label="seed"))
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        at = data.draw(st.integers(0, len(changed)), label="at")
        end = data.draw(st.integers(at, len(changed)), label="end")
        changed[at:end] = data.draw(st.binary(max_size=8), label="bytes")
    target.try_out(bytes(changed))


def test_what_is_no_fault_of_anybody_is_told() -> None:
    def crash(data: bytes) -> None:
        raise Misuse("no such thing") if data else ValueError("a defect")

    Target(crash, ()).try_out(b"x")
    with pytest.raises(ValueError, match="a defect"):
        Target(crash, ()).try_out(b"")
