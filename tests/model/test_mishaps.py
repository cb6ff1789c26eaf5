"""What befalls a cluster in a run of chaos is told by the seed, and by nothing else."""

from support.chaos import mishaps
from support.chaos.mishaps import TABLE, Way
from support.chaos.run import SHAPE

LENGTH_S = 12.0


def test_a_seed_draws_the_same_again_and_another_draws_otherwise() -> None:
    drawn = [mishaps.drawn(seed, SHAPE.counts, LENGTH_S, list(Way)) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_each_kind_of_node_has_mishaps_that_end_in_time() -> None:
    for seed in range(50):
        for kind, course in mishaps.drawn(seed, SHAPE.counts, LENGTH_S, list(Way)).items():
            assert course
            assert sum(one.after_s + one.for_s for one in course) <= LENGTH_S
            assert all(one.node < SHAPE.counts[kind] for one in course)


def test_all_of_the_table_is_drawn_within_a_hundred_seeds() -> None:
    drawn = {
        (kind, one.way)
        for seed in range(100)
        for kind, course in mishaps.drawn(seed, SHAPE.counts, LENGTH_S, list(Way)).items()
        for one in course
    }
    assert drawn == {(kind, way) for kind, ways in TABLE.items() for way in ways}


def test_what_a_machine_cannot_do_is_not_drawn() -> None:
    possible = [way for way in Way if way is not Way.CLOCK]
    courses = mishaps.drawn(1, SHAPE.counts, 1000.0, possible).values()
    assert {one.way for course in courses for one in course} == set(possible)
