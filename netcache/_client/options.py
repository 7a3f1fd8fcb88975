"""The options of a client: one place where they are parsed and checked.

Their defaults are given by ``ClientFace`` (``core``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.units import parse_size
from netcache._core.validity import ValidityPolicy, parse_stale, parse_validity
from netcache._core.verifying import VERIFY_LEVELS
from netcache.errors import UsageError

if TYPE_CHECKING:
    from netcache.backends.http_options import HttpOptions
    from netcache.spi import Backend

EXCHANGES_PER_TRANSFER = 4
"""How many read exchanges may run at the same time, for each of ``transfers``."""


SMALL_FILES_PER_TRANSFER, SMALL_FILES_MAX = 16, 256
"""How many small files of a tree may be on their way at the same time, for each of ``transfers``
and in all: those that are cached have their objects open until the server has answered."""


def small_files_at_once(transfers: int) -> int:
    """How many small files a process with so many transfers may have on their way."""
    return max(transfers, min(transfers * SMALL_FILES_PER_TRANSFER, SMALL_FILES_MAX))


class ClientOptions(NamedTuple):
    """Checked options; the constructor of ``Client`` documents each."""

    cache_dir: str
    cache_size: int | None
    use_cache: bool
    validity: ValidityPolicy
    offline: bool
    stale_s: float | None
    timeout_s: float
    retries: int
    transfers: int
    processes: int | None
    bandwidth_limit: int | None
    headers: Mapping[str, str]
    auth: str | None
    token: str | None
    netrc: bool | str
    ca_cert: str | None
    insecure: bool
    block_size: int | None
    readahead: int
    dirty_soft: int
    dirty_hard: int
    flush_interval_s: float
    sync: str
    verify: str
    write_mode: str
    durability: str | None
    state_dir: str
    backend: Callable[[], Backend] | None

    def for_http(self) -> HttpOptions:
        """What of them is for HTTP servers."""
        from netcache.backends.http_options import HttpOptions

        return HttpOptions(
            timeout_s=self.timeout_s,
            retries=self.retries,
            headers=self.headers,
            auth=self.auth,
            token=self.token,
            netrc=self.netrc,
            ca_cert=self.ca_cert,
            insecure=self.insecure,
            connections=self.transfers * EXCHANGES_PER_TRANSFER,
            bandwidth_limit=self.bandwidth_limit,
        )


def default_cache_dir() -> str:
    """``NETCACHE_CACHE_DIR``, else ``$XDG_CACHE_HOME/netcache``, else ``~/.cache/netcache``."""
    named = os.environ.get("NETCACHE_CACHE_DIR")
    if named:
        return named
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "netcache")


def check_options(
    *,
    cache_dir: str | os.PathLike[str] | None,
    cache_size: int | str | None,
    use_cache: bool,
    validate: str | float,
    offline: bool,
    stale_if_error: str | float | None,
    write_mode: str,
    durability: str | None,
    timeout: float,
    retries: int,
    transfers: int,
    processes: int | None,
    bwlimit: int | str | None,
    headers: Mapping[str, str] | None,
    auth: tuple[str, str] | str | None,
    token: str | None,
    netrc: bool | str,
    ca_cert: str | None,
    insecure: bool,
    block_size: int | None,
    readahead: int | str,
    dirty_soft: int | str,
    dirty_hard: int | str,
    flush_interval: float,
    verify: str,
    sync: str,
    backend: Callable[[], Backend] | None,
) -> ClientOptions:
    """Check what a caller gave; ``UsageError`` names the option and what it takes."""
    _one_of("write_mode", write_mode, ("through", "back"))
    _one_of("durability", durability, (None, "journal"))
    _one_of("verify", verify, VERIFY_LEVELS)
    _one_of("sync", sync, ("lazy", "commit"))
    _check_times(flush_interval, timeout)
    _check_count("retries", retries, 0, 100)
    _check_count("transfers", transfers, 1, 64)
    if processes is not None:
        _check_count("processes", processes, 1, 64)
    return ClientOptions(
        cache_dir=os.path.abspath(os.fspath(cache_dir) if cache_dir else default_cache_dir()),
        cache_size=_size("cache_size", cache_size),
        use_cache=use_cache,
        validity=parse_validity(validate),
        offline=offline,
        stale_s=parse_stale(stale_if_error),
        timeout_s=float(timeout),
        retries=retries,
        transfers=transfers,
        processes=processes,
        bandwidth_limit=_size("bwlimit", bwlimit),
        headers=dict(headers or {}),
        auth=":".join(auth) if isinstance(auth, tuple) else auth,
        token=token,
        netrc=netrc,
        ca_cert=ca_cert,
        insecure=insecure,
        block_size=block_size,
        readahead=_size("readahead", readahead) or 0,
        dirty_soft=_size("dirty_soft", dirty_soft) or 0,
        dirty_hard=_size("dirty_hard", dirty_hard) or 0,
        flush_interval_s=float(flush_interval),
        sync=sync,
        verify=verify,
        write_mode=write_mode,
        durability=durability,
        state_dir=_state_dir(cache_dir),
        backend=backend,
    )


def _state_dir(cache_dir: str | os.PathLike[str] | None) -> str:
    """Where uploads are kept that are not at the server: in a cache directory that was named,
    else ``$XDG_STATE_HOME/netcache`` (``~/.local/state/netcache``)."""
    named = cache_dir or os.environ.get("NETCACHE_CACHE_DIR")
    if named:
        return os.path.abspath(os.fspath(named))
    base = os.environ.get("XDG_STATE_HOME")
    if not base:
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "netcache")


def _check_times(flush_interval: float, timeout: float) -> None:
    if not flush_interval >= 0:
        raise UsageError(f"flush_interval={flush_interval!r}: a time in seconds is needed")
    if not timeout > 0:
        raise UsageError(f"timeout={timeout!r}: a time above 0 seconds is needed")


def _check_count(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name}={value!r}: a number from {least} to {most} is needed")


def _one_of(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise UsageError(f"{name}={value!r}: this version knows {choices}")


def _size(name: str, value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value) if isinstance(value, str) else int(value)
    except ValueError as error:
        raise UsageError(f"{name}={value!r}: {error}") from error
    if size < 0:
        raise UsageError(f"{name}={value!r}: a size cannot be negative")
    return size
