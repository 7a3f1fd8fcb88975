"""Resource URLs: one spelling for each, credentials apart, and the cache keys made from them.

Rules:

1. The canonical spelling has a lower-case scheme and host, no default port, no fragment, no
   credentials, a path that starts with a slash, and percent-encoding only where it is needed
   (RFC 3986 6.2.2).  Dot segments are resolved.
2. Credentials are cut off here and go to the authentication layer only.
3. The volume key is the origin, the object key path and query; together they are the URL.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from netcache.errors import UsageError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DEFAULT_ENDS = {"http": ":80", "https": ":443"}
_REMEMBERED_MAX = 4096
NAME_BYTES_MAX = 255
"""The longest name that Linux filesystems take (NAME_MAX)."""
_PATH_SAFE = "/:@!$&'()*+,;=-._~"
# Compiled by the first URL that is not in canonical form: most are.
_BAD = r"[\x00-\x20\x7f]"
_CONTROL = r"[\x00-\x1f\x7f]"
_CANONICAL = re.compile(
    r"(https?)://([a-z0-9][a-z0-9.-]*(?::[1-9][0-9]{0,3}|:[1-5][0-9]{4})?)"
    r"(/[A-Za-z0-9/:@!$&'()*+,;=._~-]*)(?:\?([A-Za-z0-9/:@!$&'()*+,;=._~?-]+))?"
)
"""Most URLs are canonical already, and need nothing but this match."""


class Resource(NamedTuple):
    """A parsed resource URL.

    ``url`` is the canonical spelling; ``user`` and ``password`` are the decoded credentials that
    stood in it, or None.
    """

    url: str
    scheme: str
    authority: str
    path: str
    query: str
    user: str | None
    password: str | None

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``, the scope of credentials and capabilities (RFC 6454)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """What a request to the origin names: path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def keys(self) -> tuple[str, bytes]:
        """The keys of the volume, and of the object inside it.

        The first begins with the filesystem's name, and has no slash.  The other one is path and
        query, without the first slash, which stays where leaving it out would make two paths one
        (``/`` and ``//``).
        """
        _, scheme, authority, path, query, _, _ = self
        key = path[1:]
        if not key or key[0] == "/":
            key = path
        return f"netcache,{scheme},{authority}", (f"{key}?{query}" if query else key).encode()

    @property
    def volume_key(self) -> str:
        """The first of ``keys``."""
        return self.keys[0]

    @property
    def object_key(self) -> bytes:
        """The second of ``keys``."""
        return self.keys[1]

    @property
    def is_folder(self) -> bool:
        """Whether the URL names a folder (its path ends with a slash)."""
        return self.path.endswith("/")

    @property
    def name(self) -> str:
        """The decoded last segment of the path; empty for the root."""
        return _unquoted(self.path.rstrip("/").rsplit("/", 1)[-1]).decode(
            "utf-8", "surrogateescape"
        )


def is_url(text: str) -> bool:
    """Whether ``text`` is meant as a resource URL rather than a local path."""
    return text[:8].lower().startswith(("http://", "https://"))


def parse(url: str) -> Resource:
    """Parse and canonicalise ``url``; ``UsageError`` says what is wrong with it."""
    if not isinstance(url, str):
        raise UsageError(f"not a URL: {url!r} (a string such as http://host/path is needed)")
    return _parse_canonical(url) or _parse_any(url)


@lru_cache(maxsize=_REMEMBERED_MAX)
def _parse_canonical(url: str) -> Resource | None:
    """What ``_parse_any`` makes of a URL that is surely canonical; None for all others.

    Remembered, as the places of objects are: what opens files again opens the same ones.  There
    are no credentials in it.
    """
    found = _CANONICAL.fullmatch(url)
    if found is None:
        return None
    scheme, authority, path, query = found.groups("")
    if "/." in path or authority.endswith(_DEFAULT_ENDS[scheme]):
        return None
    # What the class calls itself, in Python.
    return tuple.__new__(Resource, (url, scheme, authority, path, query, None, None))


def _parse_any(url: str) -> Resource:
    from urllib.parse import urlsplit

    shown = strip_credentials(url)
    if re.search(_CONTROL, url) or url != url.strip():
        raise UsageError(
            f"not a usable URL: {shown!r} (control characters and outer spaces must be escaped)"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"not a usable URL: {shown!r} (its host or port is malformed)") from None
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    if scheme not in _DEFAULT_PORTS:
        raise UsageError(f"not a usable URL: {shown!r} (it must begin with http:// or https://)")
    if not host or re.search(_BAD, host):
        raise UsageError(f"not a usable URL: {shown!r} (it names no host)")
    try:
        return _canonical(parts, scheme, host, port)
    except UnicodeError:
        raise UsageError(f"not a usable URL: {shown!r} (it is not text)") from None


def _canonical(parts: SplitResult, scheme: str, host: str, port: int | None) -> Resource:
    host = _ascii_host(host)
    if ":" in host:
        host = f"[{host}]"
    authority = host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    path = _canonical_path(parts.path or "/")
    query = _canonical_quoting(parts.query, _PATH_SAFE + "?")
    return Resource(
        f"{scheme}://{authority}{path}" + (f"?{query}" if query else ""),
        scheme,
        authority,
        path,
        query,
        _decoded(parts.username),
        _decoded(parts.password),
    )


def strip_credentials(url: str) -> str:
    """``url`` for a message that says it is malformed: nothing before its last ``@`` is shown."""
    if "@" not in url:
        return url
    scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", url)
    return (scheme.group() if scheme else "") + url.rsplit("@", 1)[1]


def child(folder: Resource, name: str, *, is_folder: bool = False) -> Resource:
    """The resource called ``name`` (decoded, no slash) inside ``folder``."""
    if not name or "/" in name or name in (".", ".."):
        raise UsageError(f"not a usable name in {folder.url}: {name!r}")
    base = folder.path if folder.path.endswith("/") else folder.path + "/"
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeError:
        raise UsageError(f"not a usable name in {folder.url}: {name!r} (it is not text)") from None
    encoded = _quoted(raw, safe=_PATH_SAFE.replace("/", ""))
    path = base + encoded + ("/" if is_folder else "")
    return folder._replace(url=folder.origin + path, path=path, query="")


def why_not_local(name: str) -> str | None:
    """Why ``name`` cannot be the name of a local file; None when it can."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return "it cannot be the name of a local file"
    try:
        length = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return "its name has characters that cannot be encoded"
    if length > NAME_BYTES_MAX:
        return f"its name is {length} bytes long (at most {NAME_BYTES_MAX} are possible)"
    return None


def local_name(resource: Resource) -> str:
    """The name that a resource is saved under in a local folder: never a way out of that folder."""
    name = as_file(resource).name
    if why_not_local(name):
        raise UsageError(
            f"{resource.url} has no name that it could be saved under (name a file or folder)"
        )
    return name


def parent(resource: Resource) -> Resource | None:
    """The folder that a resource is in; None for the root."""
    above, _, name = resource.path.rstrip("/").rpartition("/")
    if not name:
        return None
    return resource._replace(url=f"{resource.origin}{above}/", path=f"{above}/", query="")


def as_folder(resource: Resource) -> Resource:
    """The same resource, spelled as a folder (with a trailing slash)."""
    if resource.path.endswith("/"):
        return resource
    path = resource.path + "/"
    url = resource.origin + path + (f"?{resource.query}" if resource.query else "")
    return resource._replace(url=url, path=path)


def as_file(resource: Resource) -> Resource:
    """The same resource without a trailing slash (the root keeps its own)."""
    path = resource.path.rstrip("/") or "/"
    url = resource.origin + path + (f"?{resource.query}" if resource.query else "")
    return resource._replace(url=url, path=path)


def _ascii_host(host: str) -> str:
    try:
        return host.encode("ascii").decode()
    except UnicodeEncodeError:
        try:
            return host.encode("idna").decode()
        except UnicodeError as error:
            raise UsageError(f"not a usable host name: {host!r} ({error})") from error


def _canonical_path(path: str) -> str:
    path = _canonical_quoting(path if path.startswith("/") else "/" + path, _PATH_SAFE)
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _canonical_quoting(text: str, safe: str) -> str:
    """Quote what needs it, unquote unreserved characters, write escapes in upper case."""
    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    pieces = re.split(r"(%[0-9A-Fa-f]{2})", text)
    return "".join(
        _canonical_escape(piece)
        if odd % 2
        else _quoted(piece.encode("utf-8", "surrogateescape"), safe)
        for odd, piece in enumerate(pieces)
    )


def _canonical_escape(escape: str) -> str:
    character = chr(int(escape[1:], 16))
    unreserved = character.isascii() and (character.isalnum() or character in "-._~")
    return character if unreserved else escape.upper()


def _decoded(part: str | None) -> str | None:
    return None if part is None else _unquoted(part).decode("utf-8", "replace")


# urllib.parse takes as long to import as reading a cached file does, and most URLs are canonical.


def _quoted(raw: bytes, safe: str) -> str:
    from urllib.parse import quote

    return quote(raw, safe)


def _unquoted(text: str) -> bytes:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(text)
