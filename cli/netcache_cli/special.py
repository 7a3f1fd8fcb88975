"""Targets that are no files: devices, pipes, sockets, and what is open already."""

from __future__ import annotations

import os

from netcache_cli.session import Session, write_to


def is_target(dest: str) -> bool:
    """Whether bytes are written to `dest` as they come, instead of a file that takes its place."""
    from netcache._client.items import is_special, own_descriptor

    return own_descriptor(dest) is not None or is_special(dest)


def copy(session: Session, url: str, dest: str) -> None:
    """As to stdout: no summary, for it may be the same pipe."""
    from netcache._client.items import own_descriptor

    own = own_descriptor(dest)
    with session.client() as client:
        # What is open already has a position, which whoever writes next goes on from.
        descriptor = os.dup(own) if own is not None else os.open(dest, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for piece in client.cat(url):
                _write(descriptor, piece, url, dest, is_stdout=own == 1)
        finally:
            os.close(descriptor)


def _write(descriptor: int, piece: bytes, url: str, dest: str, *, is_stdout: bool) -> None:
    try:
        write_to(descriptor, piece)
    except BrokenPipeError:
        if is_stdout:
            raise
        from netcache.errors import NetCacheError

        raise NetCacheError(
            f"copy of {url} to {dest} failed: its reader went away before the end", url=url
        ) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, dest) from error
