"""Settings for all tests: hypothesis profiles, and a summary of what could not run."""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from octopull.http.client import Http

settings.register_profile(
    "dev", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A client for requests to services under test."""
    async with Http() as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name, at the very end, each client whose tests could not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]) for report in skipped if report.longrepr}
    if reasons:
        terminalreporter.section("NOT RUN on this machine")
        for reason in sorted(reasons):
            terminalreporter.line(reason)
