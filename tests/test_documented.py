"""What ``docs/testing.md`` says: every test that it names exists, and no id is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
DOCUMENT = TESTS.parent / "docs" / "testing.md"
_ROW = re.compile(r"^\| ((?:T|K|U-|INV-)\S+) \| (.+) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
_GROUPS = {"U-RA": 6, "U-WB": 5, "U-FS": 5, "U-BK": 5, "U-SP": 4, "U-WT": 6, "T": 38, "K": 8}


def test_every_test_that_the_document_names_exists() -> None:
    """By file and function."""
    named = _NAMED.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(named) > 100
    missing = []
    for path, name in named:
        file = TESTS / path.removeprefix("tests/")
        if not file.is_file() or (name and name not in _functions(file)):
            missing.append(f"{path}::{name}")
    assert not missing


def test_every_id_has_its_row() -> None:
    """Each once, and each row names a test or says why there is none."""
    rows = _ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    expected = [f"{group}{n}" for group, most in _GROUPS.items() for n in range(1, most + 1)]
    expected += [f"INV-{letter}" for letter in "abcdefghijk"]
    assert sorted(name for name, _ in rows) == sorted(expected)
    without = [name for name, tests in rows if not _NAMED.search(tests)]
    assert without == ["T38", "U-FS4"]


def _functions(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
