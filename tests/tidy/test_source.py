"""The source itself: what linters can't see."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PURE = ("kernel", "blob", "placement", "oci", "swarm")
BANNED = {
    "asyncio", "socket", "ssl", "threading", "time", "random", "os", "pathlib", "logging",
    "sqlite3", "datetime", "secrets", "subprocess",
}  # fmt: skip
LINES_MAX = 450
FUNCTION_LINES_MAX = 60


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_knows_no_io_clock_or_chance(package: str) -> None:
    files = list((ROOT / "src" / "octopull" / package).glob("*.py"))
    assert files
    for path in files:
        tree = ast.parse(path.read_text())
        assert not imported(tree) & BANNED, path
        calls = {
            n.func.id
            for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "eval", "exec", "id", "hash"}, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


def test_tests_script_no_mocks_and_nothing_sleeps_in_a_thread() -> None:
    for path in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]:
        if path != Path(__file__):
            text = path.read_text()
            assert "unittest.mock" not in text, path
            assert "time.sleep(" not in text, path


def test_every_path_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:src|tests|docs|examples)/[\w./-]+)`", text)
    named += [f"src/octopull/{path}" for path in re.findall(r"`([a-z_]+/[\w/]*\.py)`", text)]
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_glossary_says_each_noun_once() -> None:
    nouns = re.findall(r"^\*\*([^*]+)\*\*", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    assert len(nouns) > 20
    assert len(nouns) == len(set(nouns))
