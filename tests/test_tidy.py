"""The house rules that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("netcache", "cli", "server")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
AROUND = [path for name in ("tests", "benchmarks") for path in sorted((ROOT / name).rglob("*.py"))]
ALL = [*MODULES, *AROUND]

MODULE_LINES_MAX = 350
TEST_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
BANNED_NAMES = re.compile(r"^(utils?|helpers?|common|base|misc|managers?)$")


def relative(path: Path) -> str:
    """A module's path for messages and test names."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_a_small_room(path: Path) -> None:
    """At most 350 lines, a docstring, functions of at most 70 lines, a name that says something."""
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= MODULE_LINES_MAX
    assert ast.get_docstring(tree), "a module says what it is for"
    assert not BANNED_NAMES.match(path.stem)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", AROUND, ids=relative)
def test_a_module_of_tests_or_benchmarks_is_a_small_room_too(path: Path) -> None:
    """At most 400 lines: one theme, and what several share is in a module of its own."""
    assert path.read_text().count("\n") <= TEST_LINES_MAX


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_nothing_is_mocked_or_slept_for(path: Path) -> None:
    """No mocks; no sleeping as synchronisation; no error swallowed whole."""
    if path == Path(__file__):
        return
    text = path.read_text()
    assert "unittest" + ".mock" not in text
    if "tests" in path.parts:
        assert not re.search(r"\btime\.sleep\(", text), "wait for the thing itself"
    assert not re.search(r"except (Base)?Exception:\s*\n\s*pass", text)
    assert not re.search(r"type: ignore(?!\[)", text), "say which error is ignored"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_package_does_not_import_from_its_own_front_door(path: Path) -> None:
    """``netcache`` resolves its public names lazily; its own modules name the real homes."""
    if path.parts[len(ROOT.parts)] == "netcache":
        assert not re.search(r"^\s*from netcache import", path.read_text(), re.MULTILINE)


def test_every_test_states_its_promise() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in ALL
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_no_modules_import_each_other() -> None:
    """Every module can be read and understood after those that it imports, types included."""
    graph = grimp.build_graph("netcache", "netcache_cli", "netcache_server")
    below = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail(f"in a circle: {' <- '.join(error.args[1])}")


def test_imports_point_downwards() -> None:
    """import-linter: the layers of the design, the pure core, the server apart."""
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["aiohttp", "asyncio", "rich", "logging", "dataclasses"])
def test_a_hit_imports_nothing_heavy(name: str) -> None:
    """What is read from the cache needs neither an event loop nor an HTTP client."""
    code = (
        "import sys, netcache; netcache.Client;"
        "import netcache._cachefiles.store, netcache._client.files;"
        f"sys.exit({name!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")), ids=relative
)
def test_a_document_has_no_marks_of_a_merge(path: Path) -> None:
    """Programs do not run with them; a page would be read with them."""
    assert not re.search(r"^(<{7} |={7}$|>{7} )", path.read_text(), re.MULTILINE)


def test_decisions_are_numbered_one_by_one() -> None:
    """Others refer to them by number."""
    text = (ROOT / "docs" / "decisions.md").read_text()
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
