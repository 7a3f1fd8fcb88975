"""The request log: one JSON object a request, one line each.

Keys: ``time`` (UTC, ISO 8601), ``id``, ``method``, ``path`` (decoded), ``query``, ``range``,
``status`` (null if nothing was answered), ``bytes_sent`` and ``bytes_received`` (of the body, as
handed to and taken from the kernel), ``duration_ms``, ``user_agent``, ``if_match``,
``if_none_match``, ``if_modified_since``, ``if_unmodified_since``, ``if_range``, ``etag``,
``content_range`` and ``content_type`` (as answered), ``request_content_range``, ``update_range``,
``upload_offset`` (as asked),
``connection`` (the same for requests on one connection), ``faults`` (names of the rules that hit),
``error`` (why the exchange broke off, else null).

A record is made before the last bytes of its answer leave, so it is there when a client has the
whole answer.  Records hold no credentials.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque

from netcache_server.options import LogRecord, LogTarget

_logger = logging.getLogger("netcache_server")


class RequestLog:
    """Takes records and hands them on.  Thread-safe; ``_lock`` guards the kept records."""

    def __init__(self, target: LogTarget, limit: int) -> None:
        self._lock = threading.Lock()
        self._kept: deque[LogRecord] = deque(maxlen=limit)
        self._keeps = target == "memory"
        self._call = target if callable(target) else None
        self._fd = -1
        self._owned = False
        if target == "-":
            self._fd = 2
        elif not self._keeps and self._call is None and target is not None:
            assert isinstance(target, str | os.PathLike)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(target, flags, 0o600)
            self._owned = True

    @property
    def wanted(self) -> bool:
        """Whether anybody takes the records."""
        return self._keeps or self._call is not None or self._fd >= 0

    @property
    def records(self) -> list[LogRecord]:
        """The kept records, oldest first (``"memory"`` only)."""
        with self._lock:
            return list(self._kept)

    def clear(self) -> None:
        """Forget the kept records."""
        with self._lock:
            self._kept.clear()

    def add(self, record: LogRecord) -> None:
        """Hand a record on.  A log that cannot be written does not fail the request."""
        if self._keeps:
            with self._lock:
                self._kept.append(record)
        elif self._call is not None:
            try:
                self._call(record)
            except Exception:
                _logger.exception("the request log's callable failed")
        elif self._fd >= 0:
            line = json.dumps(record, separators=(",", ":")) + "\n"
            try:
                os.write(self._fd, line.encode("utf-8", "replace"))
            except OSError as error:
                _logger.warning("the request log cannot be written: %s", error)

    def close(self) -> None:
        """Close the file, if it is one."""
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
