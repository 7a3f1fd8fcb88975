"""What the demo prints: headings, commands, their output, checks.  Plain text in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

_LINES_MAX = 40


class Tale:
    """Tells the story and keeps count of the checks."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.claims: list[str] = []
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """A new part of the story."""
        self._chapter += 1
        self._write("\n" + self._styled("1", f"{self._chapter}. {title}"))

    def say(self, text: str) -> None:
        """A sentence."""
        self._write(f"   {text}")

    def command(self, line: str) -> None:
        """A command that is run now."""
        self._write("   " + self._styled("36", f"$ {line}"))

    def shows(self, lines: Iterable[str]) -> None:
        """What a command printed."""
        for at, line in enumerate(lines):
            if at == _LINES_MAX:
                self._write("     ...")
                break
            self._write(f"     {line}")

    def check(self, claim: str, holds: bool) -> None:
        """A claim, and whether it is true."""
        if holds:
            self.passed += 1
            self._write("   " + self._styled("32", f"ok: {claim}"))
        else:
            self.failed.append(claim)
            self._write("   " + self._styled("31", f"FAILED: {claim}"))

    def keep(self, figure: str) -> None:
        """A figure for the summary."""
        self.claims.append(figure)

    def end(self, seconds: float) -> int:
        """The summary; returns the exit code."""
        self._write("\n" + self._styled("1", "Summary"))
        for figure in self.claims:
            self._write(f"   {figure}")
        self._write(
            f"   {self.passed} checks passed, {len(self.failed)} failed, in {seconds:.1f} s"
        )
        for claim in self.failed:
            self._write("   " + self._styled("31", f"FAILED: {claim}"))
        return 1 if self.failed else 0

    def _styled(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
