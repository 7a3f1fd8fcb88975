"""What a server is told when it starts.

Rules:

1. The options are checked as a whole before anything is opened: a server that starts is one that
   may serve what it was told to serve.
2. Whoever listens beyond this machine asks for a credential, unless ``allow_unauthenticated`` says
   in so many words that strangers are welcome.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass

from netcache_server.faults import FaultPlan

LogRecord = dict[str, object]
"""One finished request: the keys are listed in ``log.py``."""

LogTarget = str | os.PathLike[str] | Callable[[LogRecord], None] | None
"""A file to append to, ``"-"`` for stderr, ``"memory"``, a callable, or ``None`` for no log."""


class OptionsError(ValueError):
    """The options contradict each other or the machine; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Everything that a server can be told.  Only ``root`` has no default.

    ``root``: the folder that is served; it must exist.
    ``host``, ``port``: where to listen; port 0 takes a free one.
    ``read_only``: nothing can be changed over HTTP (405).
    ``user`` (``"name:password"``), ``token``: credentials (RFC 7617, RFC 6750); with both set,
    either one is enough.
    ``allow_unauthenticated``: permits a host that is not loopback without credentials.
    ``allowed_hosts``: host names that the ``Host`` header may bear besides ``localhost`` and
    addresses.  Names are checked only where there are no credentials, since only there may a web
    page that resolves its own name to this machine reach the files (DNS rebinding).
    ``tls_cert``, ``tls_key``: PEM files; both turn TLS on.
    ``log``: see ``LogTarget``.  ``log_limit``: how many records ``"memory"`` keeps.
    ``fault_plan``: faults from the start.  ``fault_control``: lets ``PUT /.netcache/faults``
    replace them while the server runs.
    ``fsync``: a write is answered only when it is on the disk (file and folder).
    ``autoindex``: folders are listed; without it they are 403.
    ``max_body_bytes``: the largest upload, ``None`` for what the disk holds (413).
    ``resumable_uploads``: interrupted uploads can go on where they stopped; what has arrived
    of them lies in ``.netcache-part-uploads`` at the root, for a day (``resuming.py``).
    ``idle_timeout_s``: how long a client may stay silent in the middle of an upload (408), or
    leave sent bytes unread, or (60 s at most) take for its first request's head.
    ``backlog``: connections that wait for accept.
    """

    root: str | os.PathLike[str]
    host: str = "127.0.0.1"
    port: int = 0
    read_only: bool = False
    user: str | None = None
    token: str | None = None
    allow_unauthenticated: bool = False
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: str | os.PathLike[str] | None = None
    tls_key: str | os.PathLike[str] | None = None
    log: LogTarget = None
    log_limit: int = 100_000
    fault_plan: FaultPlan | None = None
    fault_control: bool = False
    fsync: bool = True
    autoindex: bool = True
    max_body_bytes: int | None = None
    resumable_uploads: bool = True
    idle_timeout_s: float = 300.0
    backlog: int = 1024

    @property
    def authenticated(self) -> bool:
        """Whether clients have to show a credential."""
        return self.user is not None or self.token is not None

    def check(self) -> None:
        """Check the options against each other and the machine.

        Raises ``OptionsError`` whose message names the option.
        """
        if not os.path.isdir(self.root):
            raise OptionsError(f"{os.fspath(self.root)}: not a folder that can be served")
        if self.user is not None and (":" not in self.user or self.user.startswith(":")):
            raise OptionsError("user: give NAME:PASSWORD")
        if self.token is not None and not self.token.strip():
            raise OptionsError("token: it is empty")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise OptionsError("tls_cert, tls_key: give both or neither")
        if not 0 <= self.port <= 65535:
            raise OptionsError(f"port: {self.port} is not between 0 and 65535")
        if self.max_body_bytes is not None and self.max_body_bytes < 0:
            raise OptionsError("max_body_bytes: it is negative")
        if self.idle_timeout_s <= 0:
            raise OptionsError("idle_timeout_s: it must be positive")
        if not (self.authenticated or self.allow_unauthenticated or is_loopback(self.host)):
            raise OptionsError(
                f"host: {self.host or 'every address'} is open to other machines; set user or"
                " token, or allow_unauthenticated"
            )


def is_loopback(host: str) -> bool:
    """Whether a host to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_is_trusted(host_header: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a ``Host`` header names this server by an address or by an allowed name.

    A page whose name was rebound to this machine bears that name in ``Host``; addresses and
    ``localhost`` cannot be rebound.
    """
    if not host_header:
        return True
    name = host_header.rsplit(":", 1)[0] if not host_header.endswith("]") else host_header
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
