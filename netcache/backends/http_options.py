"""The options of an HTTP backend."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from netcache._version import __version__
from netcache.spi_bodies import RESUMABLE_BYTES_MIN

__all__ = ["HttpOptions"]


class HttpOptions(NamedTuple):
    """The options of an ``HttpBackend``.

    ``timeout_s`` bounds connecting, and each wait without a byte; never a whole transfer.
    ``retries`` counts attempts after the first.  ``auth`` is ``user:password``.  ``netrc`` is a
    path, or True for the user's own file.  ``connections`` is for each host.
    ``bandwidth_limit`` is in bytes/s over all bodies, both ways.  ``takeover`` False makes all
    bodies take aiohttp's stream.  ``first_requests`` is how many reads may go without aiohttp
    (``http_first``); None: a few, as long as nobody has imported it.  ``resumable_bytes_min``: what
    is no smaller is uploaded so that it can go on where it stopped, for one request more.
    """

    timeout_s: float = 30.0
    retries: int = 4
    headers: Mapping[str, str] = MappingProxyType({})
    auth: str | None = None
    token: str | None = None
    netrc: bool | str = False
    ca_cert: str | None = None
    insecure: bool = False
    connections: int = 16
    bandwidth_limit: int | None = None
    user_agent: str = f"netcache/{__version__}"
    takeover: bool = True
    first_requests: int | None = None
    resumable_bytes_min: int = RESUMABLE_BYTES_MIN
