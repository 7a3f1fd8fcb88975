"""Indexes of folders: JSON as nginx's ``autoindex_format json`` gives it, and HTML for people.

Rules:

1. The names are sorted; what is asked of the disk about each of them is asked batch by batch while
   the answer is being sent, so a folder of any size costs the memory of its names.
2. Links are shown as what they lead to inside the served folder.  Links that lead out or nowhere,
   special files and what may not be looked at have the type ``other`` in JSON, and nothing but a
   name; HTML, which tells no types, leaves them out.  Files in progress are not shown.
3. A name that is not UTF-8 is shown with ``surrogateescape`` in JSON, and byte for byte in the
   links of HTML.
4. Who deletes what a listing lacks must not take a name for gone that is there: one that cannot be
   looked at for want of a disk or of descriptors ends the answer.
"""

from __future__ import annotations

import errno
import html
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from netcache_server.conditionals import http_date
from netcache_server.etag import read_etag
from netcache_server.paths import CONTROL_NAME, RequestPath, is_hidden, quote_segment
from netcache_server.tree import Tree

BATCH = 512
"""So many entries are looked up in one go, between two chunks of the answer."""

_HAS_PROC = os.path.isdir("/proc/self/fd")
"""Whether a file can be looked at by its folder's descriptor and its name without opening it."""

_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Index of {title}</title></head>
<body>
<h1>Index of {title}</h1><hr><pre>"""
_END = "</pre><hr></body></html>\n"


class Entry(NamedTuple):
    """One name of a folder.

    ``is_folder`` is None for what is neither a file nor a folder; ``etag`` is there for files only.
    """

    name: str
    is_folder: bool | None
    size: int = 0
    mtime: float = 0.0
    etag: str | None = None

    def as_json(self) -> dict[str, object]:
        """The entry as an object of the JSON index."""
        if self.is_folder is None:
            return {"name": self.name, "type": "other"}
        date = http_date(self.mtime)
        if self.is_folder:
            return {"name": self.name, "type": "directory", "mtime": date}
        return {
            "name": self.name,
            "type": "file",
            "size": self.size,
            "mtime": date,
            "etag": self.etag,
        }


def wants_json(accept: str | None) -> bool:
    """Whether an ``Accept`` header prefers JSON to HTML (RFC 9110 12.5.1)."""
    weights = {"application/json": 0.0, "text/html": 0.0}
    for item in (accept or "").split(","):
        kind, *parameters = [part.strip().lower() for part in item.split(";")]
        if kind in weights:
            weights[kind] = _quality(parameters)
    return weights["application/json"] > weights["text/html"]


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            with suppress(ValueError):
                return float(value)
            return 0.0
    return 1.0


def json_index(tree: Tree, path: RequestPath, folder: int) -> Iterator[bytes]:
    """The JSON index in chunks.  Takes over the folder's descriptor."""
    before = "[\n"
    for batch in _batches(tree, path, folder):
        texts = [json.dumps(entry.as_json()) for entry in batch]
        if texts:
            yield (before + ",\n".join(texts)).encode("ascii")
            before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def html_index(tree: Tree, path: RequestPath, folder: int) -> Iterator[bytes]:
    """The HTML index in chunks, laid out like nginx's.  Takes over the folder's descriptor."""
    title = html.escape(_readable(path.text))
    before = _PAGE.format(title=title) + '<a href="../">../</a>\n'
    for batch in _batches(tree, path, folder):
        lines = [_html_line(entry) for entry in batch if entry.is_folder is not None]
        yield (before + "".join(lines)).encode()
        before = ""
    yield (before + _END).encode()


def _html_line(entry: Entry) -> str:
    slash = "/" if entry.is_folder else ""
    shown = _readable(entry.name) + slash
    # "./" keeps a name with a colon from being read as a scheme.
    link = "./" * (":" in entry.name) + quote_segment(entry.name) + slash
    size = "-" if entry.is_folder else str(entry.size)
    padding = " " * max(1, 51 - len(shown))
    anchor = f'<a href="{html.escape(link)}">{html.escape(shown)}</a>'
    return f"{anchor}{padding}{_day(entry.mtime)} {size:>20}\n"


def _day(mtime: float) -> str:
    """A time as nginx's index shows it, which parsers of indexes know."""
    return http_date(mtime)[5:22].replace(" ", "-", 2)


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _batches(tree: Tree, path: RequestPath, folder: int) -> Iterator[list[Entry]]:
    try:
        names = sorted(name for name in os.listdir(folder) if not is_hidden(name))
        if not path.segments:
            names = [name for name in names if name != CONTROL_NAME]
        for start in range(0, len(names), BATCH):
            found = (_entry(tree, path, folder, name) for name in names[start : start + BATCH])
            yield [entry for entry in found if entry is not None]
    finally:
        os.close(folder)


def _entry(tree: Tree, path: RequestPath, folder: int, name: str) -> Entry | None:
    """What the folder has under ``name``; None: it has gone since the names were read."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:
        return Entry(name, None)
    try:
        if stat.S_ISLNK(status.st_mode):
            return _linked(tree, path, name)
        if stat.S_ISDIR(status.st_mode):
            return Entry(name, True, 0, status.st_mtime)
        if not stat.S_ISREG(status.st_mode):
            return Entry(name, None)
        return Entry(name, False, status.st_size, status.st_mtime, _etag(folder, name, status))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return Entry(name, None)  # a link that leads nowhere or out, or it may not be looked at
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            return Entry(name, None)  # a link that leads nowhere
        raise


def _etag(folder: int, name: str, status: os.stat_result) -> str:
    if _HAS_PROC:
        return read_etag(f"/proc/self/fd/{folder}/{name}", status)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        return read_etag(fd, status)
    finally:
        os.close(fd)


def _linked(tree: Tree, path: RequestPath, name: str) -> Entry:
    with tree.locate((*path.segments, name)) as place:
        if place.is_folder and place.status is not None:
            return Entry(name, True, 0, place.status.st_mtime)
        if not place.is_file:
            return Entry(name, None)
        file = place.open_file()
        try:
            return Entry(name, False, file.size, file.status.st_mtime, file.etag)
        finally:
            file.close()
