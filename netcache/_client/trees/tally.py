"""What a tree has done so far: its report, and its progress events."""

from __future__ import annotations

from typing import Literal

from netcache._client.failures import exit_code_of, one_line
from netcache._client.report import ItemError, Report
from netcache._core.progress import ProgressEvent, ProgressSink
from netcache.errors import ClosedError, RemoteError, RemoteTimeoutError

EXIT_SOME_FAILED = 6


def exit_code(report: Report) -> int:
    """The exit code for a report: 0, the only item's own code, or 6 when some of several failed."""
    if not report.errors:
        return 0
    done = report.copied + report.unchanged + report.deleted + len(report.skipped)
    return report.errors[0].code if report.failed == 1 and not done else EXIT_SOME_FAILED


class Tally:
    """Counts, and tells.  On the event loop only.

    ``raises``: the only item's error is raised, not collected.  ``silent_count``: so many items
    in a row had no answer from the server in time.
    """

    def __init__(self, progress: ProgressSink | None, *, raises: bool = False) -> None:
        self.report = Report()
        self.raises = raises
        self.silent_count = 0
        self._progress = progress
        self._planned_bytes = 0
        self._told_bytes = 0

    def finished(self) -> Report:
        """The report, its names in order."""
        self.report.errors.sort()
        self.report.skipped.sort()
        return self.report

    def plan(self, size: int | None) -> None:
        """So many bytes more are going to be copied."""
        self._planned_bytes += size or 0

    def tell_plan(self) -> None:
        """Tell the whole tree's bytes, if they have grown."""
        if self._progress is not None and self._planned_bytes != self._told_bytes:
            self._told_bytes = self._planned_bytes
            done = self.report.bytes
            self._progress(ProgressEvent("plan", "", done, self._planned_bytes))

    def start(self, name: str, size: int | None) -> ItemTally:
        """A file begins to be copied."""
        return ItemTally(self._progress, name, size)

    def unchanged(self, name: str, size: int | None) -> None:
        """A file is there already."""
        self.silent_count = 0
        self.report.unchanged += 1
        if self._progress is not None:
            self._progress(ProgressEvent("unchanged", name, size or 0, size))

    def copied(self, size: int, fetched_bytes: int, sent_bytes: int | None = None) -> None:
        """A file has been copied."""
        self.silent_count = 0
        self.report.copied += 1
        self.report.bytes += size
        self.report.fetched_bytes += fetched_bytes
        if sent_bytes is not None:
            self.report.sent(sent_bytes)

    def would_delete(self, name: str) -> None:
        """A name would go, if this were no dry run."""
        self.report.deleted += 1
        if self._progress is not None:
            self._progress(ProgressEvent("deleted", name, 0, None))

    def failed(self, name: str, error: OSError, *, told: bool = False) -> None:
        """An item failed.  Errors that leave nothing to go on with are raised again."""
        if self.raises or isinstance(error, ClosedError):
            raise error
        if isinstance(error, RemoteTimeoutError):
            self.silent_count += 1
        elif isinstance(error, RemoteError):
            self.silent_count = 0
        self.refused(name, one_line(error), exit_code_of(error), told=told)

    def refused(self, name: str, why: str, code: int = 1, *, told: bool = False) -> None:
        """An item was not done, for a reason of ours."""
        self.report.errors.append(ItemError(name, why, code))
        if self._progress is not None and not told:
            self._progress(ProgressEvent("failed", name, 0, None))


class ItemTally:
    """The progress of one file; called with the bytes that have moved since the last call."""

    def __init__(self, progress: ProgressSink | None, name: str, total: int | None) -> None:
        self._progress = progress
        self._name = name
        self._total = total
        self._done = 0
        if progress is not None:
            progress(ProgressEvent("start", name, 0, total))

    def __call__(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(ProgressEvent("advance", self._name, self._done, self._total))

    def end(self, *, good: bool) -> None:
        """The file is there, or failed."""
        if self._progress is not None:
            kind: Literal["done", "failed"] = "done" if good else "failed"
            self._progress(ProgressEvent(kind, self._name, self._done, self._total))
