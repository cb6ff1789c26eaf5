"""Writes docs/conformance.md from the tests' decorators: ``python -m conformance.table``.

No server runs for it: the table says what is tested, and the test run says that it holds.
"""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conformance.untested import NOT_HERE, OF_CLIENTS
from support.requirements import Requirement, requirements_of

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "conformance.md"
FILES = ("test_pull", "test_push_blobs", "test_push_manifests", "test_discovery",
         "test_management", "test_errors")  # fmt: skip
INTRODUCTION = """\
# Conformance

What the [OCI distribution-spec](https://github.com/opencontainers/distribution-spec) 1.1 requires
of a registry, and the tests in `tests/conformance` that show it, for a proxy (all of it) and for
an agent (pull and content discovery: it takes no pushes). Sentences are shortened; "is" marks what
the specification says without a word of RFC 2119; what the next version adds is named so. Sections
"HTTP", "Content digests" and "Catalog" are of RFC 9110, image-spec 1.1 and docker's registry API.

`make conformance` runs the tests and then writes this file; a test fails when it is stale. `pass`
means that a test asks that service and passes; `-` that the service takes no such request.

One thing deviates: a cluster keeps each blob once, whatever repository it was pushed to, and serves
it under any repository's name, unless it was deleted there, as if it had been mounted. The
specification wants 404 where it was not pushed. Manifests, tags and referrers are each repository's own.
"""


@dataclass(slots=True)
class Row:
    """One requirement, who is asked, and by which tests."""

    requirement: Requirement
    services: set[str] = field(default_factory=set[str])
    tests: list[str] = field(default_factory=list[str])


def tested() -> list[Row]:
    """A row for each requirement, by file and line of the first test that shows it."""
    rows: dict[Requirement, Row] = {}
    for name, test in _tests():
        for requirement in requirements_of(test):
            row = rows.setdefault(requirement, Row(requirement))
            row.services |= _services(test)
            row.tests.append(name)
    return list(rows.values())


def unmarked() -> list[str]:
    """Tests that say no requirement."""
    return [name for name, test in _tests() if not requirements_of(test)]


def _tests() -> Iterator[tuple[str, object]]:
    for file in FILES:
        for name, value in vars(importlib.import_module(f"conformance.{file}")).items():
            if name.startswith("test_"):
                yield f"{file}.py::{name}", value


def _services(test: object) -> set[str]:
    assert callable(test)
    asked = set(inspect.signature(test).parameters)
    if "reader" in asked:
        return {"proxy", "agent"}
    return {"agent"} if "agent" in asked else {"proxy"}


def render() -> str:
    """The whole document."""
    sections: dict[str, list[Row]] = {}
    for row in tested():
        sections.setdefault(row.requirement.section, []).append(row)
    number, lines = 0, [INTRODUCTION]
    for section, rows in sections.items():
        lines += [f"## {section}", "", "| | level | requirement | proxy | agent | shown by |",
                  "| --: | --- | --- | --- | --- | --- |"]  # fmt: skip
        for row in rows:
            number += 1
            lines.append(_line(number, row))
        lines.append("")
    return "\n".join([*lines, *_not_here(), *_of_clients()])


def _line(number: int, row: Row) -> str:
    asked = ["pass" if service in row.services else "-" for service in ("proxy", "agent")]
    tests = "<br>".join(f"`{test}`" for test in row.tests)
    wanted = row.requirement
    return f"| {number} | {wanted.level} | {_cell(wanted.text)} | {' | '.join(asked)} | {tests} |"


def _not_here() -> list[str]:
    lines = ["## What does not arise", "", "| section | level | requirement | why |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for one in NOT_HERE:
        said = one.requirement
        lines.append(f"| {said.section} | {said.level} | {_cell(said.text)} | {one.reason} |")
    return [*lines, ""]


def _of_clients() -> list[str]:
    lines = ["## What is asked of clients", "", "| section | level | requirement |",
             "| --- | --- | --- |"]  # fmt: skip
    lines += [f"| {one.section} | {one.level} | {_cell(one.text)} |" for one in OF_CLIENTS]
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    DOCUMENT.write_text(render())
