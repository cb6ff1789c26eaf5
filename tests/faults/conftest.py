"""What tests of killed processes share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from octopull.cli.cluster import Cluster
from support.chaos.forks import Forks
from support.link import Link
from support.replicating import behind_link


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts services in a moment, where a test starts many."""
    with Forks() as one:
        yield one


@pytest.fixture
async def beyond(tmp_path: Path) -> AsyncIterator[tuple[Cluster, Link]]:
    """Another cluster, which replication reaches over a link."""
    async with behind_link(tmp_path / "other") as both:
        yield both


@pytest.fixture
def other(beyond: tuple[Cluster, Link]) -> Cluster:
    """That cluster."""
    return beyond[0]


@pytest.fixture
def link(beyond: tuple[Cluster, Link]) -> Link:
    """That link."""
    return beyond[1]
