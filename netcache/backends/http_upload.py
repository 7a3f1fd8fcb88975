"""One PUT: a body streamed to the server, and what its reply proves.

Rules:

1. A server that takes no byte for the timeout is given up; one that answers early is heard.
2. A digest that the server reports is always compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from netcache._core.coherency import Version
from netcache.backends.http_fields import (
    Fields,
    mtime_of,
    sha256_digest,
    sha256_field,
    validator_of,
)
from netcache.backends.http_wire import WANT_DIGEST, condition_headers
from netcache.errors import IntegrityError, RemoteTimeoutError
from netcache.spi import UNCONDITIONAL, MemoryBody, UploadCondition

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_sender import BodySender
    from netcache.backends.http_session import Exchange, HttpSession

__all__ = ["send_body", "send_once", "stored_version"]

EXPECT_BYTES_MIN = 1 << 20
"""From this size on a conditional upload asks first whether it is welcome."""


async def send_once(
    session: HttpSession,
    resource: Resource,
    sender: BodySender,
    condition: UploadCondition,
    mtime_s: float | None,
    *,
    want_digest: bool,
    expect: bool,
) -> Exchange:
    """One PUT of the body; raises what went wrong in the body itself as it was."""
    body = sender.body
    headers = condition_headers(condition)
    headers["Content-Type"] = "application/octet-stream"
    if body.size is not None:
        headers["Content-Length"] = str(body.size)
    if mtime_s is not None:
        headers["X-OC-Mtime"] = str(int(mtime_s))
    if isinstance(body, MemoryBody):
        headers["Content-Digest"] = sha256_field(hashlib.sha256(body.data).digest())
    if want_digest:
        headers |= WANT_DIGEST
    careful = condition != UNCONDITIONAL or not body.replayable
    large = body.size is None or body.size > EXPECT_BYTES_MIN
    return await send_body(
        session,
        "PUT",
        resource,
        sender,
        headers,
        what="upload",
        expect=expect and careful and large,
    )


async def send_body(
    session: HttpSession,
    method: str,
    resource: Resource,
    sender: BodySender,
    headers: Mapping[str, str],
    *,
    what: str,
    expect: bool,
) -> Exchange:
    """One request with the body of ``sender``; raises what went wrong in the body as it was.

    With ``expect`` the server is asked first whether the body is welcome.
    """
    sender.failure = None
    asking = session.ask(
        method,
        resource,
        headers,
        what=what,
        payload=sender.payload,
        on_link=sender.on_link(),
        expect100=expect,
    )
    try:
        return await _watched(
            asking, sender, session.options.timeout_s, f"{what} of {resource.url}", resource.url
        )
    except Exception as error:
        if sender.failure is not None:
            raise sender.failure from error
        raise


async def _watched(
    asking: Coroutine[Any, Any, Exchange],
    sender: BodySender,
    timeout_s: float,
    what: str,
    url: str,
) -> Exchange:
    """Wait for the reply; give up when the server takes no byte for ``timeout_s``.

    aiohttp's own timeout begins only when the whole body has been sent.
    """
    task = asyncio.ensure_future(asking)
    try:
        while not (await asyncio.wait([task], timeout=timeout_s / 4))[0]:
            if sender.waiting_for_server and time.monotonic() - sender.moved_at > timeout_s:
                raise RemoteTimeoutError(
                    f"{what} failed: the server took no byte for {timeout_s:g} s", url=url
                )
    except BaseException:
        task.cancel()
        (answer,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(answer, BaseException):
            # It came in the moment in which nobody wanted it any more.
            answer.give_up()
        raise
    return task.result()


async def stored_version(
    url: str, sender: BodySender, fields: Fields, mtime_kept_s: float | None
) -> Version | None:
    """The version that a successful upload made; None when the reply does not prove one.

    ``mtime_kept_s`` is the time that the server said to keep.  Raises ``IntegrityError`` when the
    server reports another digest than that of what was sent.
    """
    reported = sha256_digest(fields.get("Repr-Digest"))
    if reported is not None:
        own = await sender.body.sha256()
        if own is not None and own != reported:
            raise IntegrityError(
                f"upload of {url} failed: the server stored other bytes than were sent "
                f"(its SHA-256 is {reported.hex()}, ours {own.hex()})",
                url=url,
            )
    validator = validator_of(fields)
    if not validator.joins_ranges:
        return None
    mtime_s = mtime_of(fields)
    if mtime_s is None and mtime_kept_s is not None:
        mtime_s = int(mtime_kept_s)
    return Version(validator, sender.sent_bytes, mtime_s)
