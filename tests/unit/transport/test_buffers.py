import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import Misuse
from octopull.transport.buffers import BufferPool


@given(st.lists(st.sampled_from([1, 2, 4, -1]), max_size=60))
def test_the_pool_stays_within_its_budget_and_serves_in_order(steps: list[int]) -> None:
    pool, lent, order, asked = BufferPool(8), list[bytearray](), list[int](), 0
    for step in steps:
        if step > 0:
            number, asked = asked, asked + 1

            def grant(buffer: bytearray, number: int = number) -> None:
                lent.append(buffer)
                order.append(number)

            pool.request(step, grant)
        elif lent:
            pool.release(lent.pop(0))
        assert pool.bytes <= 8
        assert sum(map(len, lent)) <= 8
    while lent:
        pool.release(lent.pop(0))
    assert order == list(range(asked))


def test_a_request_that_no_budget_holds_is_refused_and_a_forgotten_one_is_skipped() -> None:
    pool, got = BufferPool(4), list[bytearray]()
    with pytest.raises(Misuse):
        pool.request(5, got.append)
    pool.request(4, got.append)

    def never(buffer: bytearray) -> None:
        raise AssertionError(buffer)

    pool.request(4, never)
    pool.forget(never)
    pool.request(4, got.append)
    pool.release(got[0])
    assert len(got) == 2


def test_an_idle_pool_frees_what_it_kept_and_a_busy_one_keeps_it() -> None:
    pool, granted = BufferPool(1000), list[bytearray]()
    for _ in range(2):
        pool.request(400, granted.append)
    pool.release(granted.pop())
    pool.trim()
    assert pool.bytes == 800
    pool.trim()
    assert pool.bytes == 400
    pool.release(granted.pop())
    pool.trim()
    assert pool.bytes == 0
    pool.request(1000, granted.append)
    assert len(granted[0]) == 1000
