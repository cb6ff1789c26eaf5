"""The client of other services: what fails is one kind of fault."""

import pytest

from octopull.http.client import Http
from octopull.kernel.errors import Unavailable


async def test_one_whose_block_has_ended_is_unavailable() -> None:
    async with Http() as http:
        pass
    with pytest.raises(Unavailable, match="ended"):
        await http.call("GET", "http://127.0.0.1:1/", timeout_s=1)
