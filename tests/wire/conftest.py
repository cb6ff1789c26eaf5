"""What tests of a running ``cluster`` share; each file says which cluster that is."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from octopull.cli.cluster import Cluster
from support.registry import Registry


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[Registry]:
    """The cluster's proxy."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Registry(session, cluster.proxy.address)
