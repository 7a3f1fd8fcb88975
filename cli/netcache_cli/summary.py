"""The summary line of transfers and trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._core.units import format_size

if TYPE_CHECKING:
    from netcache._client.report import Report


def summary_line(report: Report, *, fetched: bool, dry_run: bool = False) -> str:
    """What was done, in figures; plainly when it was nothing.

    `fetched`: tell how many of the bytes came from the server, where not all of them did.
    Those that were sent are told where earlier uploads had sent some.
    """
    figures = ", ".join(
        (
            f"{report.copied} copied",
            f"{report.unchanged} unchanged",
            f"{report.deleted} deleted",
            f"{report.failed} failed",
            _bytes(report.bytes),
        )
    )
    if fetched and not dry_run and report.fetched_bytes < report.bytes:
        figures += f", {report.fetched_bytes} of them from the server"
    if not dry_run and report.sent_bytes is not None and report.sent_bytes < report.bytes:
        figures += f", {report.sent_bytes} of them sent now"
    if not (report.copied or report.deleted or report.failed):
        return f"Nothing to transfer: {figures}"
    return f"Would be: {figures}" if dry_run else f"Done: {figures}"


def _bytes(count: int) -> str:
    if count < 1024:
        return f"{count} bytes"
    return f"{count} bytes ({format_size(count)})"
