"""Events: one request can be followed through the log by its id."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from netcache._netfs.direct_read import read_direct
from netcache._netfs.events import LOGGER_NAME
from netcache.errors import RemoteError
from tests.support.read_rig import Answer, B, ReadRig, broken, read_rig


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    """The messages so far."""
    return [record.getMessage() for record in log.records if record.name == LOGGER_NAME]


def story(log: pytest.LogCaptureFixture, kind: str) -> list[str]:
    """The events of the only request of this kind, by its id: names and steps, in order."""
    all_lines = lines(log)
    (first,) = [line for line in all_lines if line.startswith("netfs_read") and f" {kind} " in line]
    found = re.search(r"R=[0-9a-f]{8}", first)
    assert found is not None
    told = []
    for line in all_lines:
        if found.group() in line:
            words = line.split()
            name, subject, rest = words[0], words[1], words[2:]
            index = subject.partition("[")[2].rstrip("]")
            told.append(" ".join([name, *([index] if index else []), *rest[:2]]))
    return told


async def read_cold(rig: ReadRig) -> None:
    """One read of a cold file."""
    assert await rig.engine.ensure(rig.inode(), 0, 8 * B)


async def test_a_request_is_followed_by_its_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From netfs_read to FREE: made, submitted, broken off, retried, collected, consumed."""
    caplog.set_level(logging.DEBUG, LOGGER_NAME)
    async with read_rig(tmp_path, 8 * B) as rig:
        rig.backend.answers[0] = Answer(breaks_after=3 * B)
        await read_cold(rig)
    told = story(caplog, "READPAGE")
    assert [line for line in told if not line.startswith("netfs_sreq")] == [
        "netfs_read READPAGE url=http://rig.example/data",
        "netfs_miss url=http://rig.example/data s=0",
        "netfs_rreq RP PAUSE",
        f"netfs_collect s=0 e={3 * B}",
        "netfs_rreq RP RETRY",
        "netfs_rreq RP UNPAUSE",
        f"netfs_collect s={3 * B} e={8 * B}",
        "netfs_rreq RP COMPLET",
        "netfs_rreq RP FREE",
    ]
    assert [line for line in told if line.startswith("netfs_sreq")] == [
        f"netfs_sreq 0 DOWN {step}"
        for step in ("PREP", "SUBMT", "TERM", "ND-RT", "RETRY", "SUBMT", "TERM", "CONSM")
    ]


async def test_a_failure_names_its_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """netfs_failure, and the gap that the collector passed over."""
    caplog.set_level(logging.DEBUG, LOGGER_NAME)
    async with read_rig(tmp_path, 8 * B) as rig:
        rig.backend.default = Answer(head_error=broken("not today"))
        with pytest.raises(RemoteError):
            await read_cold(rig)
    told = story(caplog, "READPAGE")
    assert "netfs_failure read e=RemoteError" in told
    assert f"netfs_collect_gap s=0 e={8 * B}" in told
    assert "netfs_sreq 0 DOWN ABNDN" in told
    assert told[-1] == "netfs_rreq RP FREE"


async def test_each_kind_of_request_has_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readahead, direct reads and zero-filled pieces are told apart."""
    caplog.set_level(logging.DEBUG, LOGGER_NAME)
    async with read_rig(tmp_path, 8 * B) as rig:
        inode = rig.inode()
        inode.sizes = inode.sizes._replace(zero_point=2 * B)
        rig.engine.go_ahead(inode, 0, 4 * B)
        assert await rig.engine.ensure(inode, 0, 4 * B)
        await read_direct(rig.engine, inode, 0, 8 * B)
    ahead, direct = story(caplog, "READAHEAD"), story(caplog, "DIO-READ")
    assert "netfs_sreq 1 ZERO TERM" in ahead
    assert "netfs_sreq 0 READ TERM" in direct
    assert "netfs_sreq 1 ZERO TERM" in direct
    assert direct[-1] == "netfs_rreq DR FREE"


async def test_a_record_has_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The arguments are a dictionary: handlers need not take the text apart."""
    caplog.set_level(logging.DEBUG, LOGGER_NAME)
    async with read_rig(tmp_path, 8 * B) as rig:
        await read_cold(rig)
    fields = [record.args for record in caplog.records if record.name == LOGGER_NAME]
    assert all(isinstance(one, dict) and isinstance(one["request"], int) for one in fields)
    assert len({one["request"] for one in fields if isinstance(one, dict)}) == 1


async def test_nothing_is_formatted_while_nobody_listens(tmp_path: Path) -> None:
    """Free when logging is off: no record is made."""
    made: list[object] = []
    factory = logging.getLogRecordFactory()

    def watch(*args: object, **options: object) -> logging.LogRecord:
        record = factory(*args, **options)
        if record.name == LOGGER_NAME:
            made.append(record)
        return record

    logging.setLogRecordFactory(watch)
    try:
        async with read_rig(tmp_path, 8 * B) as rig:
            await read_cold(rig)
    finally:
        logging.setLogRecordFactory(factory)
    assert made == []
