"""Logging for `-v`, `-vv` and `--log-file`."""

from __future__ import annotations

import logging

import click

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_logging(verbose: int, log_file: str | None) -> None:
    """Send the library's log to stderr, or to `log_file` instead."""
    logger = logging.getLogger("netcache")
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler()
    else:
        try:
            handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise click.UsageError(f"--log-file {log_file}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    for name in ("netcache_server", "aiohttp"):
        logging.getLogger(name).addHandler(handler)
