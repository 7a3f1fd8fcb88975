"""New names: the move at the server, and what the cache must forget after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netcache._client.listings import listing_key
from netcache._client.object_urls import resource_name
from netcache._core.keys import ObjectKey
from netcache._core.urls import Resource, as_file, as_folder, child
from netcache._netfs.absent import forget_absent
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError
from netcache.spi import UploadCondition

if TYPE_CHECKING:
    from netcache._client.core import ClientCore

__all__ = ["mv"]


async def mv(
    core: ClientCore, url: str, to_url: str, *, if_match: str | None, no_clobber: bool
) -> str:
    """Give ``url`` the name ``to_url``; returns the URL that it has then.

    A file goes into a ``to_url`` that ends with a slash, under its own name; for a folder the
    slash means nothing.
    """
    source, target = core.parse(url), core.parse(to_url)
    core.need_online("move of", source.url)
    backend = core.remote().backend
    if target.is_folder:
        info = await backend.stat(source.url)
        assert info is not None
        if info.type == "file":
            target = child(target, source.name)
    target = as_file(target)
    # What was written under the old name moves along, or it would conflict with nothing there.
    await core.remote().dirty.flush_resource(as_file(source))
    kind = await backend.move(
        source.url,
        target.url,
        condition=UploadCondition(if_match=if_match),
        overwrite=not no_clobber,
    )
    if kind == "directory":
        source, target = as_folder(source), as_folder(target)
    await asyncio.get_running_loop().run_in_executor(None, _forget, core, source, target)
    return target.url


def _forget(core: ClientCore, *resources: Resource) -> None:
    """Drop what is cached under names that mean something else now, or nothing."""
    for resource in resources:
        core.inodes.forget(key_of(resource))
        if resource.is_folder:
            core.inodes.forget_all()
        if core.store is None:
            continue
        for name in (resource, as_file(resource)):
            forget_absent(core.store, key_of(name))
        try:
            keys = _inside(core, resource) if resource.is_folder else [key_of(resource)]
            for key in keys:
                core.store.drop(key)
        except CacheError:
            # What stays is checked when it is next opened.
            return


def _inside(core: ClientCore, folder: Resource) -> list[ObjectKey]:
    """The keys of all objects and listings of a folder and of what lies in it."""
    assert core.store is not None
    volume, prefix = key_of(folder)
    found = [
        record.key
        for record in core.store.objects()
        if record.key.volume == volume and resource_name(record.key).startswith(prefix)
    ]
    return [*found, listing_key(folder)]
