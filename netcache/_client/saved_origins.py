"""What was learnt of origins, kept in the file ``origins`` of a cache directory for later clients.

JSON, by origin; credentials and paths are not in it.  Written by one process at a time (``flock``,
never waited for) and replaced by rename.  A file that says nothing sensible is no file: everything
is then learnt again.
"""

from __future__ import annotations

import fcntl
import json
import os

_NAME = "origins"
ORIGINS_MAX = 256
"""How many origins are remembered: those learnt last."""
_BYTES_MAX = 1 << 20


def read_origins(directory: str) -> dict[str, dict[str, object]]:
    """What is remembered, by origin."""
    try:
        with open(os.path.join(directory, _NAME), encoding="utf-8") as file:
            found = json.loads(file.read(_BYTES_MAX))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)}


def add_origins(directory: str, learnt: dict[str, dict[str, object]]) -> None:
    """Remember more, newer than what is there.  Raises ``OSError``."""
    if not learnt:
        return
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = read_origins(directory)
        after = before | learnt
        if after == before:
            return
        newest = sorted(after.items(), key=lambda item: -_learnt_s(item[1]))[:ORIGINS_MAX]
        new = os.path.join(directory, f".{_NAME}.{os.getpid()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(dict(newest), file)
        os.rename(new, os.path.join(directory, _NAME))
    finally:
        os.close(lock)


def _learnt_s(facts: dict[str, object]) -> float:
    value = facts.get("learnt_s")
    return float(value) if isinstance(value, int | float) else 0.0
