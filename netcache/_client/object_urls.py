"""What a cache key stands for: a resource, or something that was learnt of it, and its URL."""

from __future__ import annotations

from netcache._core.keys import ObjectKey
from netcache._core.urls import parse


def is_resource(key: ObjectKey) -> bool:
    """Whether a cache key is that of a resource, not of a listing or a negative answer."""
    return b"\0" not in key.name


def resource_name(key: ObjectKey) -> bytes:
    """The object key of the resource that ``key`` tells something of: the resource itself, a
    folder's listing, a negative answer."""
    return key.name.partition(b"\0")[0]


def url_of(key: ObjectKey) -> str:
    """The URL that a cache key was made from."""
    _, scheme, authority = key.volume.split(",", 2)
    name = resource_name(key).decode()
    return parse(f"{scheme}://{authority}{'' if name.startswith('/') else '/'}{name}").url
