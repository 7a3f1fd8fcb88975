"""One command at work: its settings, its streams, and the client that it opens."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from contextlib import ExitStack

    from netcache._client.report import Report
    from netcache.sync import Client
    from netcache_cli.shared_options import Settings


class Session:
    """What every verb works with.  Results by `line` and `document`; all else by `note`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._log: ExitStack | None = None
        if settings.verbose or settings.log_file:
            from netcache_cli.logs import start_logging

            self._log = start_logging(settings.verbose, settings.log_file)

    def close(self) -> None:
        """The command is done: its log ends.  Idempotent."""
        if self._log is not None:
            self._log.close()

    # Printing.

    def line(self, text: str = "") -> None:
        """A line of the result; what would move the cursor is escaped."""
        from netcache_cli.text import printable

        sys.stdout.write(printable(text) + "\n")

    def document(self, value: Any) -> None:
        """The result as one JSON document: indented on a terminal, one line in a pipe."""
        import json

        indent = 2 if sys.stdout.isatty() else None
        sys.stdout.write(json.dumps(value, indent=indent) + "\n")

    def note(self, text: str) -> None:
        """A remark for a person; `-q` hides it."""
        if not self.settings.quiet:
            from netcache_cli.text import printable

            sys.stdout.flush()
            sys.stderr.write(f"netcache: {printable(text)}\n")
            sys.stderr.flush()

    def warn(self, text: str) -> None:
        """A warning; `-q` hides it."""
        self.note(f"warning: {text}")

    @property
    def on_terminal(self) -> bool:
        """Whether the result is read by a person, as it comes."""
        return sys.stdout.isatty()

    # Working.

    def client(
        self, *, about_cache: bool = False, quick: bool = False, local: bool = False
    ) -> Client:
        """A client with the options of this command.

        `about_cache`: the command fails if the cache cannot be used, so there is nothing to warn
        about.  `quick`: it may well be done without the network, so nothing is made ready for it.
        `local`: the command is about this machine, and never asks a server.
        """
        from netcache.sync import Client

        settings = self.settings
        shows_warnings = not (about_cache or settings.offline)
        if shows_warnings and not quick:
            self._show_warnings()
        client = Client(
            cache_dir=settings.cache_dir,
            cache_size=settings.cache_size,
            use_cache=not settings.no_cache,
            validate=settings.validate,
            offline=settings.offline or local,
            stale_if_error=settings.stale_if_error,
            timeout=settings.timeout,
            retries=settings.retries,
            transfers=settings.transfers,
            processes=settings.processes,
            bwlimit=settings.bwlimit,
            headers=dict(settings.header),
            auth=self.credentials(),
            token=settings.token,
            netrc=settings.netrc,
            ca_cert=settings.ca_cert,
            insecure=settings.insecure,
            on_warning=_ignore if about_cache else self.warn,
        )
        if shows_warnings and quick and "logging" in sys.modules:
            # Edits that were left are being sent already, and may be warned about.
            self._show_warnings()
        return client

    def _show_warnings(self) -> None:
        from netcache_cli.logs import show_warnings

        show_warnings(self.warn)

    def credentials(self) -> tuple[str, str] | None:
        """User and password; a missing password is asked for on a terminal."""
        given = self.settings.user
        if given is None:
            return None
        user, colon, password = given.partition(":")
        if not colon:
            if not sys.stdin.isatty():
                raise click.UsageError(
                    "--user gives no password, and there is no terminal to ask for it on "
                    "(give --user USER:PASSWORD, or --netrc)"
                )
            from getpass import getpass

            password = getpass(f"Password of {user}: ", sys.stderr)
        return user, password

    def finish(self, report: Report, *, fetched: bool = False, dry_run: bool = False) -> int:
        """Tell how a transfer ended; returns the exit code.

        `fetched`: it was towards us, so that some of the bytes may have come from the cache.
        """
        from netcache._client.trees.tally import exit_code
        from netcache_cli.summary import summary_line
        from netcache_cli.text import printable

        settings = self.settings
        if settings.json:
            self.document(report.as_json())
        elif not settings.quiet:
            self._name_passed_over(report.skipped)
            self.line(summary_line(report, fetched=fetched, dry_run=dry_run))
        sys.stdout.flush()
        code = exit_code(report)
        for error in () if settings.json else report.errors:
            sys.stderr.write(f"netcache: {printable(f'{error.name}: {error.error}')}\n")
        if settings.json and code:
            import json

            count = report.failed
            what = "1 item failed" if count == 1 else f"{count} items failed"
            document = {"error": f"{what} (named on stdout)", "code": code, "url": None}
            sys.stderr.write(json.dumps(document) + "\n")
        return code

    def _name_passed_over(self, names: Iterable[str]) -> None:
        for name in names:
            self.note(f"{name}: passed over (a symbolic link or no regular file)")


def write_all(data: bytes | memoryview) -> None:
    """Write to stdout, past its text layer."""
    buffer = getattr(sys.stdout, "buffer", None)
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        assert buffer is not None
        buffer.write(data)
        return
    write_to(descriptor, data)


def write_to(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _ignore(_: str) -> None:
    return
