"""The kinds of values that options take: sizes, durations, rates, headers, URLs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from netcache._core.units import parse_duration, parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Kind = click.ParamType[Any]
else:
    Kind = click.ParamType

_VALIDATE_WORDS = ("open", "always", "never")


class Size(Kind):
    """A number of bytes: `4096`, `64KiB`, `1.5GiB`, `10M`."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The bytes."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Rate(Size):
    """Bytes a second: a size, with `/s` if one likes."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The bytes a second; at least one."""
        rate = super().convert(str(value).removesuffix("/s"), param, ctx)
        if rate < 1:
            self.fail(f"{value!r} is no rate to work with; write 500K or 10M", param, ctx)
        return rate


class Duration(Kind):
    """A time: `30`, `30s`, `5m`, `1h`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The seconds."""
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Timeout(Duration):
    """A time above zero."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The seconds."""
        seconds = super().convert(value, param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} is no time to wait; write 30s or 5m", param, ctx)
        return seconds


class Validate(Kind):
    """When a cached version is checked at the server."""

    name = "open|always|never|duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | float:
        """One of the words, or seconds."""
        if value in _VALIDATE_WORDS:
            return str(value)
        try:
            return parse_duration(str(value))
        except ValueError:
            self.fail(f"{value!r} is not open, always, never, or a time such as 5m", param, ctx)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem[Any]]:
        """The words."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in _VALIDATE_WORDS if word.startswith(incomplete)]


class StaleIfError(Kind):
    """When cached bytes are shown though the server fails."""

    name = "never|always|duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | float:
        """One of the words, or seconds."""
        if value in ("never", "always"):
            return str(value)
        try:
            return parse_duration(str(value))
        except ValueError:
            self.fail(f"{value!r} is not never, always, or a time such as 1h", param, ctx)


class EntityTag(Kind):
    """An ETag, `"v1"`; its quotes may be left out, as a shell takes them away."""

    name = "etag"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The tag in quotes, or `*`."""
        tag = str(value)
        if tag.startswith("W/"):
            self.fail(f"{tag!r} is a weak tag, which no condition can be about", param, ctx)
        inside = tag[1:-1] if len(tag) > 1 and tag[0] == tag[-1] == '"' else tag
        is_quoted = inside is not tag
        is_plain = inside.isascii() and inside.isprintable() and not {*inside} & {'"', " "}
        if not is_plain or not (inside or is_quoted):
            self.fail(f"{tag!r} is not an ETag; write it as '\"v1\"'", param, ctx)
        return tag if tag == "*" or is_quoted else f'"{tag}"'


class Header(Kind):
    """A request header, `Name: value`."""

    name = "name:value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, colon, content = str(value).partition(":")
        name, content = name.strip(), content.strip()
        if not colon or not name or " " in name or any(mark in content for mark in "\r\n\0"):
            self.fail(f"{value!r} is not a header; write 'Name: value'", param, ctx)
        return name, content


class LocalPath(Kind):
    """A local path, taken as it is."""

    name = "path"

    def __init__(self, *, is_folder: bool = False) -> None:
        self._kind = "dir" if is_folder else "file"
        self.name = "dir" if is_folder else "file"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The path, with a leading `~` replaced."""
        if not value:
            self.fail("a path cannot be empty", param, ctx)
        return os.path.expanduser(str(value))

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem[Any]]:
        """Local names."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self._kind)]


class Range(Kind):
    """``START-END``, two sizes; END is exclusive."""

    name = "range"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """The two ends."""
        if isinstance(value, tuple):
            return value
        start, _, end = str(value).partition("-")
        try:
            extent = parse_size(start), parse_size(end)
        except ValueError as error:
            self.fail(f"not a range: {error} (START-END, such as 0-64KiB)", param, ctx)
        if extent[0] >= extent[1]:
            self.fail(f"not a range: {value!r} (it ends before it begins)", param, ctx)
        return extent
