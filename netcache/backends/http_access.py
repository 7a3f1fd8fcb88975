"""Who may know what: credentials and proxies, by origin.

Rules:

1. Credentials go only to the origin that they were given for.  ``auth``, ``token`` and the
   caller's own header fields are meant for the origin that the caller names; a redirect to another
   origin loses them.  Those of a URL belong to its origin, those of a netrc file to its host.
2. The first of these is used: the URL's, ``token``, ``auth``, the caller's ``Authorization``
   field, netrc.
3. Proxies come from the environment (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``,
   ``NO_PROXY``); their credentials go to them alone.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.urls import Resource, strip_credentials
from netcache.errors import UsageError

if TYPE_CHECKING:
    import netrc
    from typing import Self

    from netcache.backends.http_options import HttpOptions

__all__ = ["Access", "Proxy"]


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Proxy(NamedTuple):
    """A proxy: its URL without credentials, and the field that bears them."""

    url: str
    authorization: str | None


class Access:
    """The credentials and proxies of one backend."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str],
        auth: str | None,
        token: str | None,
        netrc_file: bool | str,
    ) -> None:
        _require_one_line("the token", token or "")
        for name, value in headers.items():
            _require_one_line(f"the header field {name!r}", name + value)
        self._headers = dict(headers)
        self._common: str | None = None
        if token is not None:
            self._common = f"Bearer {token}"
        elif auth is not None:
            self._common = _basic(*_user_and_password(auth))
        self._by_origin: dict[str, str] = {}
        self._netrc = _read_netrc(netrc_file)
        self._proxies = _proxies()

    @classmethod
    def of(cls, options: HttpOptions) -> Self:
        """What these options say.  Raises ``UsageError``."""
        return cls(
            headers=options.headers,
            auth=options.auth,
            token=options.token,
            netrc_file=options.netrc,
        )

    def add(self, origin: str, user: str, password: str) -> None:
        """Credentials of ``origin`` only."""
        self._by_origin[origin] = _basic(user, password)

    def headers_for(self, resource: Resource, asked_origin: str) -> dict[str, str]:
        """The caller's fields and the credentials for a request to ``resource``.

        ``asked_origin`` is the origin that the caller named: another than the resource's after a
        redirect.
        """
        own = resource.origin == asked_origin
        headers = dict(self._headers) if own else {}
        authorization = self._by_origin.get(resource.origin)
        if authorization is None and own:
            authorization = self._common
        if authorization is None and not any(n.lower() == "authorization" for n in headers):
            authorization = self._from_netrc(resource, own)
        if authorization is not None:
            headers = {n: v for n, v in headers.items() if n.lower() != "authorization"}
            headers["Authorization"] = authorization
        return headers

    def proxy_for(self, resource: Resource) -> Proxy | None:
        """The proxy on the way to ``resource``, or None."""
        url = self._proxies.get(resource.scheme) or self._proxies.get("all")
        if not url or _goes_round(resource.authority, self._proxies):
            return None
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https"):
            raise UsageError(f"the proxy {strip_credentials(url)!r} is not an HTTP proxy")
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.username is None:
            return Proxy(plain, None)
        return Proxy(plain, _basic(unquote(parts.username), unquote(parts.password or "")))

    def _from_netrc(self, resource: Resource, own: bool) -> str | None:
        if self._netrc is None:
            return None
        from urllib.parse import urlsplit

        host = urlsplit(resource.url).hostname or ""
        # The default entry is for any host that the user names, not for any that a server names.
        if host not in self._netrc.hosts and not own:
            return None
        found = self._netrc.authenticators(host)
        return None if found is None else _basic(found[0] or "", found[2] or "")


def _proxies() -> dict[str, str]:
    """The proxies of the environment, by scheme; "no" has the hosts that need none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        # Its import takes a tenth of what a short command does.
        return {}
    from urllib.request import getproxies_environment

    found: dict[str, str] = getproxies_environment()
    return found


def _goes_round(authority: str, proxies: dict[str, str]) -> bool:
    """Whether the environment names this host as one that needs no proxy."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    return bool(proxy_bypass_environment(authority, proxies))


def _require_one_line(what: str, text: str) -> None:
    """Raise ``UsageError`` for what would end its field and begin another; it may be a secret."""
    if _CONTROL.search(text):
        raise UsageError(f"{what} has a line break or another control character in it")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _user_and_password(auth: str) -> tuple[str, str]:
    user, _, password = auth.partition(":")
    return user, password


def _read_netrc(which: bool | str) -> netrc.netrc | None:
    """The netrc file named; ``True`` is the user's own, which may be missing."""
    if which is False:
        return None
    if which is True:
        path = os.environ.get("NETRC") or os.path.join(os.path.expanduser("~"), ".netrc")
        if not os.path.exists(path):
            return None
    else:
        path = which
    import netrc

    try:
        return netrc.netrc(path)
    except (OSError, netrc.NetrcParseError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"the netrc file {path!r} cannot be used: {why}") from error
