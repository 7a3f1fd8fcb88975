"""Who may ask: Basic (RFC 7617) and Bearer (RFC 6750) credentials.

Credentials are compared by their digests in constant time, so neither their length nor how much of
them is right can be measured.  They are never logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from netcache_server.options import ServerOptions
from netcache_server.reply import HttpProblem

_REALM = 'realm="netcache"'


class Gate:
    """Lets a request pass, or raises the 401 that asks for a credential."""

    def __init__(self, options: ServerOptions) -> None:
        self._user = None if options.user is None else _fingerprint(options.user.encode("utf-8"))
        self._token = None if options.token is None else _fingerprint(options.token.encode("utf-8"))
        challenges = []
        if self._user is not None:
            challenges.append(f'Basic {_REALM}, charset="UTF-8"')
        if self._token is not None:
            challenges.append(f"Bearer {_REALM}")
        self._challenge = ", ".join(challenges)

    def require(self, authorization: str | None) -> None:
        """Raise ``HttpProblem`` 401 unless the header bears a right credential."""
        if not self._challenge:
            return
        scheme, _, value = (authorization or "").strip().partition(" ")
        given, expected = b"", None
        if scheme.lower() == "basic":
            expected = self._user
            try:
                given = base64.b64decode(value.strip(), validate=True)
            except (binascii.Error, ValueError):
                expected = None
        elif scheme.lower() == "bearer":
            given = value.strip().encode("utf-8", "surrogateescape")
            expected = self._token
        right = hmac.compare_digest(_fingerprint(given), expected or b"")
        if not right:
            raise HttpProblem(401, headers={"WWW-Authenticate": self._challenge})


def _fingerprint(credential: bytes) -> bytes:
    return hashlib.sha256(credential).digest()
