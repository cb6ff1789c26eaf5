import math

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.cli.quantities import DURATION_S_MAX, Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), ("1.5m", 90), ("7d", 604800), ("30s", 30), ("0", 0)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@given(st.text(max_size=9) | st.text("0123456789.smhd ", max_size=9))
def test_any_other_text_is_a_duration_within_bounds_or_refused(text: str) -> None:
    try:
        seconds = Duration().convert(text, None, None)
    except click.BadParameter:
        return
    assert math.isfinite(seconds)
    assert 0 <= seconds <= DURATION_S_MAX
