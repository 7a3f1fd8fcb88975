"""Where the library's log goes: nowhere but its warnings, unless somebody asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import click

from netcache_cli.text import printable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_logging(verbose: int, log_file: str | None) -> ExitStack:
    """Send the library's log to stderr, or to `log_file` instead (`-v`, `-vv`, `--log-file`).

    Closing what is returned ends that, and leaves the loggers as they were.
    """
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler()
    else:
        try:
            handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise click.UsageError(f"--log-file {log_file}: {error.strerror}") from error
    handler.setFormatter(LogFormatter(_FORMAT))
    undo = ExitStack()
    undo.callback(handler.close)
    for name in ("netcache", "netcache_server", "aiohttp"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        undo.callback(logger.removeHandler, handler)
    logger = logging.getLogger("netcache")
    undo.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    return undo


def show_warnings(warn: Callable[[str], None]) -> None:
    """Hand the library's warnings to `warn`, unless there is a log for them."""
    logger = logging.getLogger("netcache")
    if not logger.handlers:
        logger.addHandler(_Warnings(warn))


class LogFormatter(logging.Formatter):
    """Lines without anything that would move the cursor: names and messages come from servers."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, its traceback included."""
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Warnings(logging.Handler):
    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._warn = warn

    def emit(self, record: logging.LogRecord) -> None:
        self._warn(record.getMessage())
