"""What the cache knows of a name without a server: of itself, of the folder, by a listing it is in.

The last word counts: an answer that there is nothing hides what was known before it, and not what
was stored or listed after it.  Blocks on the disk, shortly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._client.listings import kept_listing
from netcache._core.urls import as_folder, parent, parse
from netcache.errors import NotCachedError, NotFoundError
from netcache.spi import ResourceInfo

if TYPE_CHECKING:
    from netcache._client.local import LocalHalf


def stat_kept(local: LocalHalf, url: str) -> ResourceInfo:
    """What ``url`` was when last seen.  Raises ``NotFoundError``, ``NotCachedError``."""
    resource = parse(url)
    inode = local.inodes.find(resource)
    own = kept_listing(local.store, as_folder(resource))
    folder = parent(resource)
    above = kept_listing(local.store, folder) if folder is not None else None
    listed = next((entry for entry in above or () if entry.name == resource.name), None)
    local.inodes.raise_if_absent(
        resource,
        inode,
        listed_s=max(
            own.checked_s if own is not None else 0.0,
            above.checked_s if above is not None and listed is not None else 0.0,
        ),
    )
    if inode is not None:
        version = inode.version
        return ResourceInfo(
            url=url,
            name=resource.name,
            type="file",
            size=version.size,
            mtime_s=version.mtime_s,
            etag=version.validator.etag,
            version=version,
        )
    if own is not None:
        return ResourceInfo(as_folder(resource).url, resource.name, "directory", *[None] * 3)
    if listed is not None:
        return listed
    if above is not None:
        raise NotFoundError(
            f"stat of {url} failed: offline, and not in the folder as it was last listed", url=url
        )
    raise NotCachedError(f"stat of {url} failed: offline, and not cached", url=url)
