"""Replies that refuse: each status is an error of the right class."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from netcache.backends.http_refusals import refusal
from netcache.backends.http_wire import Head
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteError,
    RemoteProtocolError,
    TransientError,
)

URL = "http://host.invalid/a"


class TestRefusals:
    """Statuses that are errors."""

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (404, NotFoundError),
            (410, NotFoundError),
            (401, AccessDeniedError),
            (403, AccessDeniedError),
            (407, AccessDeniedError),
            (429, TransientError),
            (503, TransientError),
            (507, RemoteError),
            (413, RemoteError),
            (302, RemoteProtocolError),
            (204, RemoteProtocolError),
        ],
    )
    def test_classes(self, status: int, kind: type[RemoteError]) -> None:
        """Each status has its class, and a message of one line that names all that matters."""
        error = refusal("read", URL, Head(status, CIMultiDict(), URL), 0.0)
        assert type(error) is kind
        assert "\n" not in str(error)
        assert str(error).startswith(f"read of {URL} failed: ")
        assert str(status) in str(error)

    def test_retry_after_is_kept(self) -> None:
        """The server's wish comes with the error."""
        error = refusal("read", URL, Head(503, CIMultiDict({"Retry-After": "9"}), URL), 0.0)
        assert isinstance(error, TransientError)
        assert error.retry_after_s == 9.0
