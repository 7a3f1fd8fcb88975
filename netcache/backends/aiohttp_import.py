"""aiohttp, imported without loading the system's certificates before anything needs them.

aiohttp makes two TLS contexts when it is imported, and each parses all certificates of the system:
together a fifth of the time that a short command over http takes.  Contexts that are made while it
is imported load them when the first connection is wrapped instead; they behave the same otherwise,
whoever uses them.  With an aiohttp that makes none, nothing is different.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_LOAD = "set_default_verify_paths"


class LaterContext(ssl.SSLContext):
    """A context that has yet to load the system's certificates.  Thread-safe."""

    def _load(self) -> None:
        with _loading:
            if type(self) is LaterContext:
                super().set_default_verify_paths()
                # Nothing of this class is in the way any more.
                cast(Any, self).__class__ = ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """See ``ssl.SSLContext``."""
        self._load()
        return ssl.SSLContext.wrap_bio(self, *args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """See ``ssl.SSLContext``."""
        self._load()
        return ssl.SSLContext.wrap_socket(self, *args, **kwargs)

    def get_ca_certs(self, *args: Any, **kwargs: Any) -> Any:
        """See ``ssl.SSLContext``."""
        self._load()
        return ssl.SSLContext.get_ca_certs(self, *args, **kwargs)

    def cert_store_stats(self) -> dict[str, int]:
        """See ``ssl.SSLContext``."""
        self._load()
        return ssl.SSLContext.cert_store_stats(self)


_loading = threading.Lock()


@contextmanager
def certificates_when_needed() -> Iterator[None]:
    """Contexts that are made inside the block, by any thread, load certificates when used."""

    def later(self: ssl.SSLContext) -> None:
        if type(self) is ssl.SSLContext:
            cast(Any, self).__class__ = LaterContext
        else:
            super(ssl.SSLContext, self).set_default_verify_paths()

    if _LOAD in vars(ssl.SSLContext):
        # Somebody else has put something in its place: leave that alone.
        yield
        return
    setattr(ssl.SSLContext, _LOAD, later)
    try:
        yield
    finally:
        delattr(ssl.SSLContext, _LOAD)


with certificates_when_needed():
    import aiohttp
    from aiohttp.http import HttpProcessingError
    from aiohttp.payload import Payload

PARSER_ERRORS = (HttpProcessingError,)
EXCHANGE_ERRORS = (aiohttp.ClientError, *PARSER_ERRORS)
"""What is raised where an exchange fails, besides ``OSError``."""

__all__ = [
    "EXCHANGE_ERRORS",
    "PARSER_ERRORS",
    "HttpProcessingError",
    "LaterContext",
    "Payload",
    "aiohttp",
    "certificates_when_needed",
]
