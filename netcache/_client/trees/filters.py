r"""Include and exclude patterns: which names take part in a tree.  Pure.

Patterns are matched against names relative to the root of the tree, with ``/`` between folders:

* ``*`` stands for any characters but ``/``, ``?`` for one of them, ``[a-z]`` and ``[!a-z]`` for
  one of a set, ``**`` for any characters with ``/`` among them, ``**/`` also for nothing;
  a backslash takes the next character as it is.  Case counts.  Hidden files are no exception.
* A pattern without ``/`` (but at its end) is matched against the last part of the name: ``*.tmp``
  is any such file at any depth.
* A pattern that begins with ``/`` is anchored at the root of the tree: ``/build``.
* Any other pattern with ``/`` matches the end of the name, at a border of folders: ``doc/*.txt``
  matches ``a/doc/b.txt``.
* A pattern that ends in ``/`` matches folders only: ``cache/``.

What takes part:

1. A name that an exclude pattern matches takes no part, and nothing inside it does.  Excludes
   always win; the order of patterns means nothing.
2. Without include patterns, everything else takes part.
3. With them, a file or folder takes part when an include pattern matches it or a folder that it
   lies in.  Other folders are searched, and made only when something in them arrives.

What takes no part is neither copied nor deleted, on either side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from netcache.errors import UsageError


class Part(Enum):
    """The part that a name takes in a tree."""

    NONE = "none"
    PASSAGE = "passage"
    """A folder that takes no part itself, but what lies in it may."""
    FULL = "full"


class Selection:
    """The names that take part, by lists of include and exclude patterns."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._excluded = _Patterns(exclude)
        self._included = _Patterns(include)
        self.root = Part.PASSAGE if include else Part.FULL
        self._everything = not include and not exclude

    def part(self, name: str, *, is_folder: bool, inside: Part) -> Part:
        """The part of the relative ``name``, whose folder has the part ``inside``."""
        if self._everything:
            return Part.FULL
        if self._excluded.match(name, is_folder=is_folder):
            return Part.NONE
        if inside is Part.FULL or self._included.match(name, is_folder=is_folder):
            return Part.FULL
        return Part.PASSAGE if is_folder else Part.NONE


class _Patterns:
    """A list of patterns, as one regular expression for files and one for folders."""

    def __init__(self, patterns: Sequence[str]) -> None:
        of_folders = [_expression(pattern) for pattern in patterns]
        of_files = [_expression(pattern) for pattern in patterns if not pattern.endswith("/")]
        self._folders = re.compile("|".join(of_folders), re.DOTALL) if of_folders else None
        self._files = re.compile("|".join(of_files), re.DOTALL) if of_files else None

    def match(self, name: str, *, is_folder: bool) -> bool:
        """Whether one of them matches the relative ``name``."""
        expression = self._folders if is_folder else self._files
        return expression is not None and expression.fullmatch(name) is not None


def _expression(pattern: str) -> str:
    """The regular expression for a pattern, to be matched against the whole relative name."""
    core = pattern[:-1] if pattern.endswith("/") else pattern
    anchored = core.startswith("/")
    core = core.removeprefix("/")
    if not core:
        raise UsageError(f"pattern {pattern!r} matches nothing (a name or a glob is needed)")
    return ("" if anchored else "(?:.*/)?") + "(?:" + _translated(core, pattern) + ")"


def _translated(core: str, pattern: str) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(core):
        piece, position = _next_piece(core, position, pattern)
        pieces.append(piece)
    return "".join(pieces)


def _next_piece(core: str, position: int, pattern: str) -> tuple[str, int]:
    """The expression for what stands at ``position``, and where it ends."""
    character = core[position]
    at_border = position == 0 or core[position - 1] == "/"
    if core.startswith("**/", position) and at_border:
        return "(?:.*/)?", position + 3
    if core.startswith("**", position):
        return ".*", position + 2
    if character == "*":
        return "[^/]*", position + 1
    if character == "?":
        return "[^/]", position + 1
    if character == "[":
        return _set(core, position, pattern)
    if character == "\\":
        if position + 1 == len(core):
            raise UsageError(f"pattern {pattern!r} ends in a backslash")
        return re.escape(core[position + 1]), position + 2
    return re.escape(character), position + 1


def _set(core: str, position: int, pattern: str) -> tuple[str, int]:
    start = position + 1
    negated = core[start : start + 1] in ("!", "^")
    start += negated
    # A bracket that comes first belongs to the set, as everywhere else.
    end = core.find("]", start + 1)
    if end < 0:
        raise UsageError(f"pattern {pattern!r} has a '[' without its ']'")
    members = core[start:end].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    for doubled in ("&&", "||", "~~", "--"):
        members = members.replace(doubled, "\\" + doubled[0] + "\\" + doubled[1])
    if members.startswith("^"):
        members = "\\" + members
    expression = f"(?!/)[{'^' if negated else ''}{members}]"
    try:
        re.compile(expression)
    except re.error as error:
        raise UsageError(f"pattern {pattern!r} has a set that means nothing ({error})") from error
    return expression, end + 1
