"""The table of docs/conformance.md says what tests/conformance tests."""

from conformance import table
from support.requirements import MUST, SHOULD


def test_the_table_is_up_to_date() -> None:
    assert table.DOCUMENT.read_text() == table.render(), "run `make conformance`"


def test_every_conformance_test_says_its_requirement() -> None:
    found = {path.stem for path in table.HERE.glob("test_*.py")}
    assert found == set(table.FILES)
    assert table.unmarked() == []


def test_the_agent_is_asked_for_pull_and_discovery() -> None:
    by_agent = {row.requirement.section for row in table.tested() if "agent" in row.services}
    assert {"Pulling manifests", "Pulling blobs", "Listing Tags", "Listing Referrers"} <= by_agent


def test_the_suite_is_about_what_must_and_should_be() -> None:
    levels = [row.requirement.level for row in table.tested()]
    assert levels.count(MUST) > 50
    assert levels.count(SHOULD) > 15
