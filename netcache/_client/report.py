"""What transfers and trees return."""

from __future__ import annotations

from typing import NamedTuple


class ItemError(NamedTuple):
    """One item that failed: its name (relative in a tree, else URL or path), why, exit code."""

    name: str
    error: str
    code: int


class Report:
    """The sum of a transfer or tree.

    ``copied`` and ``unchanged`` count files, ``deleted`` every name that went, ``failed`` all that
    failed; ``bytes`` counts the content bytes of what was copied, wherever they came from,
    ``fetched_bytes`` those of them that came from the server just now, and ``sent_bytes`` what went
    to it, None when there were no uploads: less than ``bytes`` where an interrupted one went on.
    ``skipped`` names symbolic links and special files that were passed over.
    """

    __slots__ = (
        "bytes",
        "copied",
        "deleted",
        "errors",
        "fetched_bytes",
        "sent_bytes",
        "skipped",
        "unchanged",
    )

    def __init__(self) -> None:
        self.copied = 0
        self.unchanged = 0
        self.deleted = 0
        self.bytes = 0
        self.fetched_bytes = 0
        self.sent_bytes: int | None = None
        self.errors: list[ItemError] = []
        self.skipped: list[str] = []

    @property
    def failed(self) -> int:
        """How many items failed."""
        return len(self.errors)

    def sent(self, count: int) -> None:
        """An upload sent so much."""
        self.sent_bytes = (self.sent_bytes or 0) + count

    def add(self, other: Report) -> None:
        """Add the figures of ``other``."""
        self.copied += other.copied
        self.unchanged += other.unchanged
        self.deleted += other.deleted
        self.bytes += other.bytes
        self.fetched_bytes += other.fetched_bytes
        if other.sent_bytes is not None:
            self.sent(other.sent_bytes)
        self.errors += other.errors
        self.skipped += other.skipped

    def as_json(self) -> dict[str, object]:
        """The document that ``--json`` prints.

        ``sent_bytes`` where it is not ``bytes``; ``skipped`` where there are any.
        """
        document = {
            "copied": self.copied,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "failed": self.failed,
            "bytes": self.bytes,
            "errors": [error._asdict() for error in self.errors],
        }
        if self.sent_bytes not in (None, self.bytes):
            document["sent_bytes"] = self.sent_bytes
        if self.skipped:
            document["skipped"] = self.skipped
        return document

    def __repr__(self) -> str:
        return (
            f"Report(copied={self.copied}, unchanged={self.unchanged}, deleted={self.deleted}, "
            f"failed={self.failed}, bytes={self.bytes})"
        )
