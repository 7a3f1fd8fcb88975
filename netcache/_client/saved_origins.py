"""What was learnt of origins, kept in the file ``origins`` of a cache directory for later clients.

JSON, by origin; credentials and paths are not in it.  A file that says nothing sensible is no file:
everything is then learnt again.
"""

from __future__ import annotations

import json

from netcache._client.saved_file import change_saved_file, read_saved_file

_NAME = "origins"
ORIGINS_MAX = 256
"""How many origins are remembered: those learnt last."""


def read_origins(directory: str) -> dict[str, dict[str, object]]:
    """What is remembered, by origin."""
    try:
        return _decoded(read_saved_file(directory, _NAME))
    except OSError:
        return {}


def add_origins(directory: str, learnt: dict[str, dict[str, object]]) -> None:
    """Remember more, newer than what is there.  Raises ``OSError``."""
    if not learnt:
        return

    def with_learnt(before: bytes) -> bytes:
        known = _decoded(before)
        after = known | learnt
        if after == known:
            return before
        newest = sorted(after.items(), key=lambda item: -_learnt_s(item[1]))[:ORIGINS_MAX]
        return json.dumps(dict(newest)).encode("ascii")

    change_saved_file(directory, _NAME, with_learnt)


def _decoded(raw: bytes) -> dict[str, dict[str, object]]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)}


def _learnt_s(facts: dict[str, object]) -> float:
    value = facts.get("learnt_s")
    return float(value) if isinstance(value, int | float) else 0.0
