"""What is sent without being asked for: above the soft limit, and right behind an upload.

The server is in memory, and answers when it is told to.
"""

from __future__ import annotations

import asyncio

import pytest

from netcache.errors import ConflictError
from tests.support.memory_rig import turns
from tests.support.write_rig import BLOCK, DATA, URL, Rig, run

OTHER = "http://memory.invalid/other"


def _uploads(rig: Rig) -> list[str]:
    verbs = [request.split()[0] for request in rig.server.requests if request.endswith(URL)]
    return [verb for verb in verbs if verb in ("update", "put")]


def test_u_wb2_one_file_alone_goes_over_the_soft_limit(rig: Rig) -> None:
    """Also when the loop has been told of it before: its first byte was news, the last one is."""

    async def scenario() -> None:
        rig.options["dirty_soft"] = 4 * BLOCK
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("update")
            for index in range(5):
                assert not held.arrived.is_set()
                await file.pwrite(b"a" * BLOCK, index * BLOCK)
            await held.arrived.wait()
            # What is written meanwhile, and is too much again, goes behind it.
            for index in range(10, 15):
                await file.pwrite(b"b" * BLOCK, index * BLOCK)
            second = rig.server.answers.hold("update")
            held.release()
            await second.arrived.wait()
            second.release()

    run(scenario())


def test_a_conflict_is_not_tried_again_because_others_write_too_much(rig: Rig) -> None:
    """Only its user can resolve it."""

    async def scenario() -> None:
        rig.options["dirty_soft"] = 4 * BLOCK
        rig.server.store(OTHER, DATA)
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"a" * BLOCK, 0)
            rig.server.store(URL, DATA[::-1])
            with pytest.raises(ConflictError):
                await file.fsync()
            before = _uploads(rig)
            async with await client.open(OTHER, "r+b") as other:
                held = rig.server.answers.hold("update")
                await other.pwrite(b"b" * 5 * BLOCK, 0)
                await held.arrived.wait()
                held.release()
                await other.fsync()
            assert _uploads(rig) == before
            with pytest.raises(ConflictError):
                await file.close()

    run(scenario())


@pytest.mark.parametrize("sent_by", ["writing", "fsync"])
def test_what_is_written_through_during_an_upload_goes_right_behind_it(
    rig: Rig, sent_by: str
) -> None:
    """It waited for the interval."""

    async def scenario() -> None:
        rig.options["write_mode"] = "through"
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            if sent_by == "fsync":
                await file.pwrite(b"x", 0)
                await file.fsync()
            first = rig.server.answers.hold("update")
            await file.pwrite(b"a" * BLOCK, 0)
            syncing = asyncio.ensure_future(file.fsync()) if sent_by == "fsync" else None
            await first.arrived.wait()
            await file.pwrite(b"b" * BLOCK, 20 * BLOCK)
            second = rig.server.answers.hold("update")
            first.release()
            await second.arrived.wait()
            second.release()
            if syncing is not None:
                await syncing

    run(scenario())


def test_what_is_written_through_all_over_a_file_is_not_sent_in_as_many_parts(
    rig: Rig,
) -> None:
    """Nor is the whole sent again and again: where that is less than the parts, it waits."""

    async def scenario() -> None:
        rig.options["write_mode"] = "through"
        # Nothing of it is cached.
        rig.server.store(URL, DATA[::-1])
        rig.server.requests.clear()
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("update")
            await file.pwrite(b"a" * BLOCK, 0)
            await held.arrived.wait()
            for index in range(5, 40, 3):
                await file.pwrite(b"b" * BLOCK, index * BLOCK)
            held.release()
            assert not await turns(lambda: len(_uploads(rig)) > 1, 200)
            await file.fsync()
            assert _uploads(rig) == ["update", "put"]
            expected = bytearray(DATA[::-1])
            for index in (0, *range(5, 40, 3)):
                expected[index * BLOCK : (index + 1) * BLOCK] = (b"b" if index else b"a") * BLOCK
            assert rig.data == expected

    run(scenario())
