"""A check that stays on under ``python -O``."""

from __future__ import annotations

from netcache.errors import InvariantError


def invariant(condition: bool, message: str, **context: object) -> None:
    """Raise ``InvariantError`` with ``message`` and the context when ``condition`` is false."""
    if not condition:
        detail = " ".join(f"{name}={value!r}" for name, value in context.items())
        raise InvariantError(f"{message}: {detail}" if detail else message)
