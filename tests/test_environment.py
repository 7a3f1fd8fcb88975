"""What tests and the commands of the Makefile find around them, wherever they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import disk_room

ROOT = Path(__file__).parent.parent
VARIABLE = "PYTHONDONTWRITEBYTECODE"


def test_programs_of_tests_keep_what_they_compile() -> None:
    """Else each of them compiles all that it imports, as no user's does."""
    told = f"{VARIABLE!r} in os.environ, sys.dont_write_bytecode"
    look = f"import tests.conftest, os, sys; print({told})"
    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=ROOT,
        env=os.environ | {VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False\n"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_programs_of_make_keep_what_they_compile() -> None:
    """The same for ``make demo``, ``make test`` and ``make bench``."""
    done = subprocess.run(
        ["make", "--silent", f"--eval=tell: ; @echo [$${VARIABLE}] $$MAKELEVEL", "tell"],
        cwd=ROOT,
        env=os.environ | {VARIABLE: "1", "MAKELEVEL": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] 1\n"


def test_want_of_room_is_told_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by tests that find nothing cached."""
    assert disk_room.lacking_room(str(tmp_path)) is None
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(disk_room, "NEEDED_BYTES", found.f_bavail * found.f_frsize)
    why = disk_room.lacking_room(str(tmp_path))
    assert why
    assert "\n" not in why
    assert "7 % of the disk and of its files free besides" in why
    assert why.endswith("with TMPDIR")
    assert f"{tmp_path} has" in why
