"""Checks: whether the version of an inode is what the server has now, asked as cheaply as can be.

1. With a validator that joins ranges, one ``HEAD`` tells; it asks for a digest as well where that
   could keep what is cached (``unchanged``).
2. With a weaker one, one ``GET`` that brings the whole if it is another; or a ``HEAD`` before it,
   where the origin is known to tell digests.
3. Without any, only a digest can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netcache._netfs.unchanged import may_compare, taken_over

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache.spi import ReadReply, ResourceInfo


class Answer(NamedTuple):
    """What a check has shown.

    ``current``: the version is what there is.  ``same``: another version, to which the cached bytes
    have gone over.  Else there is something else: ``other`` is its version, where that joins ranges
    and was told, and ``reply`` brings it, if it does.
    """

    current: bool = False
    same: Version | None = None
    other: Version | None = None
    reply: ReadReply | None = None


_CURRENT = Answer(current=True)


def can_be_checked(engine: ReadEngine, inode: Inode) -> bool:
    """Whether there is anything by which the server could tell whether the inode is current."""
    return bool(inode.version.validator.value) or _compares(engine, inode)


async def check(engine: ReadEngine, inode: Inode) -> Answer:
    """Ask whether the inode, of which nothing is missing, is current.  The caller takes ``reply``.

    Raises ``NotFoundError``, and what the server answers.
    """
    compare = _compares(engine, inode)
    if not inode.joins and not compare:
        return await _check_by_whole(engine, inode)
    info = await engine.backend().stat(
        inode.resource.url, unless=inode.version.validator, want_digest=compare
    )
    return await judged(engine, inode, info, compare=compare)


async def judged(
    engine: ReadEngine, inode: Inode, info: ResourceInfo | None, *, compare: bool
) -> Answer:
    """What the server's answer shows; ``compare``: all is cached, and a digest was asked for."""
    if info is None or _is_current(info, inode):
        return _CURRENT
    version = info.version
    if compare and version is not None and await taken_over(engine.inodes, inode, info, version):
        return Answer(same=version)
    if not inode.joins and info.digest_sha256 is None:
        return await _check_by_whole(engine, inode)
    return Answer(other=version if version is not None and version.validator.joins_ranges else None)


async def _check_by_whole(engine: ReadEngine, inode: Inode) -> Answer:
    validator = inode.version.validator
    if not validator.value:
        return Answer()
    reply = await engine.means.open_read(inode.resource.url, None, unless=validator)
    if not reply.not_modified:
        return Answer(reply=reply)
    await reply.close()
    return _CURRENT


def _compares(engine: ReadEngine, inode: Inode) -> bool:
    return may_compare(inode, engine.backend().capabilities(inode.resource.url))


def _is_current(info: ResourceInfo, inode: Inode) -> bool:
    """Whether ``info`` is of the inode's version; a weak validator yields to a digest."""
    if info.version is None or (not inode.joins and info.digest_sha256 is not None):
        return False
    return info.version.same_as(inode.version)
