import pytest

from octopull.config import load
from octopull.config.services import TagIndexConfig
from octopull.kernel.errors import Misuse

TAG_INDEX = {"data": "/d", "origins": ["o:1"]}


def test_garbage_is_collected_when_asked_and_kept_for_a_day_unless_told_otherwise() -> None:
    config = load.load(TagIndexConfig, "tag_index", {"tag_index": TAG_INDEX}, {})
    assert (config.gc.every_s, config.gc.grace_s) == (0, 86400)


@pytest.mark.parametrize(
    "settings", [{"every_s": -1.0}, {"grace_s": -1.0}, {"grace_s": 1e99}, {"every_s": float("nan")}]
)
def test_a_collection_at_no_time_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(Misuse, match="gc"):
        load.load(TagIndexConfig, "tag_index", {"tag_index": {**TAG_INDEX, "gc": settings}}, {})
