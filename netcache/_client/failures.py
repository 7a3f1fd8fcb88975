"""How an error is told: as one line, and as the exit code of the command line."""

from __future__ import annotations

import errno

from netcache.errors import NetCacheError

EXIT_NOT_FOUND = 3
EXIT_NO_SPACE = 11


def one_line(error: BaseException) -> str:
    """An error as one line for a person."""
    if isinstance(error, NetCacheError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename is not None else ""
        return f"{error.strerror.lower()}:{where}" if where else error.strerror.lower()
    return " ".join((str(error) or type(error).__name__).split())


def line_about(name: str, error: BaseException) -> str:
    """``one_line`` for who tells ``name`` before it: without that name at its ends."""
    text = one_line(error).removesuffix(f": {name}")
    return text.removeprefix(f"{name}: ").removeprefix(f"{name} ")


def exit_code_of(error: BaseException) -> int:
    """The exit code of the command line for an error; each class in ``netcache.errors`` has one."""
    if isinstance(error, NetCacheError):
        return error.exit_code
    if isinstance(error, FileNotFoundError):
        return EXIT_NOT_FOUND
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EXIT_NO_SPACE
    return 1
