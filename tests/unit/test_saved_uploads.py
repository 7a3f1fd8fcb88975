"""Records of uploads under way: kept, locked, believed only where they are right."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.upload_record import Source, UploadRecord, decode_upload, encode_upload
from netcache._core.urls import parse
from netcache._netfs.saved_upload import KEPT_S, SavedUpload
from netcache.backends.http_resumable import located, upload_limit, upload_offset
from netcache.spi import UploadCondition
from netcache.spi_resumable import UploadTicket

URL = "http://host/a"
TICKET = UploadTicket("http://host/uploads/1", UploadCondition(if_match='"v1"'))
NUMBERS = st.integers(0, 2**63)


class Desk:
    """A source file, and records of its upload, each as of a process of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.state = folder / "state"
        self.source = folder / "source"
        self.source.write_bytes(b"data")
        self._stack = stack

    def open(self, url: str = URL, source: Path | None = None) -> SavedUpload:
        """Another process comes."""
        path = source or self.source
        saved = SavedUpload(str(self.state), url, str(path), path.stat())
        saved.open()
        self._stack.callback(saved.close)
        return saved

    @property
    def files(self) -> list[Path]:
        """The records there are."""
        return sorted((self.state / "resumable").glob("*"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Where records are kept."""
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


@given(
    record=st.builds(
        UploadRecord,
        st.text(),
        st.text(),
        st.builds(Source, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
        st.none() | st.text(),
        st.booleans(),
        st.none() | st.text(),
    )
)
def test_records_come_back_as_they_were(record: UploadRecord) -> None:
    """Whatever is in them."""
    assert decode_upload(encode_upload(record)) == record


@given(raw=st.binary())
def test_nonsense_is_no_record(raw: bytes) -> None:
    """Whatever stands there."""
    assert decode_upload(raw) is None


@pytest.mark.parametrize(
    "document",
    [[], {}, 7, {"format": 2}, {"format": 1, "url": "x"}, {"format": 1, "source": [1, 2]},
     {"format": 1, "source": [1, 2, 3, 4, 5], "url": 1, "location": "", "if_match": None,
      "if_absent": False, "unmodified_since": None}],
)  # fmt: skip
def test_sound_lines_that_say_something_else_are_no_records(document: object) -> None:
    """Other formats, fields that are missing, of other kinds."""
    text = json.dumps(document).encode()
    assert decode_upload(f"{zlib.crc32(text):08x} ".encode() + text + b"\n") is None


def test_every_cut_of_a_record_is_none() -> None:
    """A power cut in the middle of its writing."""
    raw = encode_upload(UploadRecord(URL, "x", Source(1, 2, 3, 4, 5), None, True, None))
    for length in range(len(raw) - 1):
        assert decode_upload(raw[:length]) is None


def test_a_ticket_is_kept_for_the_same_file_and_place(desk: Desk) -> None:
    """And for no other."""
    first = desk.open()
    assert first.ticket is None
    assert not desk.state.exists()
    first.keep(TICKET)
    first.close()
    assert desk.open(url=URL + "b").ticket is None
    other = desk.source.with_name("other")
    os.link(desk.source, other)
    assert desk.open(source=other).ticket is None
    os.unlink(other)
    (record,) = desk.files
    assert record.stat().st_mode & 0o777 == 0o600
    # The link has changed the time of change.
    again = desk.open()
    assert again.ticket == TICKET._replace(current=False)
    again.keep(TICKET)
    again.close()
    assert desk.open().ticket == TICKET


def test_who_sends_keeps_others_away(desk: Desk) -> None:
    """The others have none, and change nothing."""
    first = desk.open()
    first.keep(TICKET)
    second = desk.open()
    assert second.ticket is None
    second.keep(TICKET._replace(location="http://host/uploads/2"))
    second.keep(None)
    second.close()
    first.close()
    assert desk.open().ticket == TICKET


def test_two_that_begin_at_once_do_not_share(desk: Desk) -> None:
    """The first one to keep a ticket has the record."""
    first, second = desk.open(), desk.open()
    first.keep(TICKET)
    second.keep(TICKET._replace(location="http://host/uploads/2"))
    second.keep(None)
    first.close()
    assert desk.open().ticket == TICKET


def test_a_ticket_that_is_forgotten_is_gone(desk: Desk) -> None:
    """Its file too."""
    saved = desk.open()
    saved.keep(TICKET)
    saved.keep(None)
    assert desk.files == []
    saved.keep(TICKET)
    saved.close()
    assert desk.open().ticket == TICKET


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "damaged", "empty"])
def test_what_stands_in_the_place_of_a_record_is_not_believed(desk: Desk, kind: str) -> None:
    """Nor waited for, followed or written through."""
    saved = desk.open()
    saved.keep(TICKET)
    saved.close()
    (record,) = desk.files
    outside = desk.source.with_name("outside")
    outside.write_bytes(record.read_bytes())
    record.unlink()
    if kind == "fifo":
        os.mkfifo(record)
    elif kind == "link":
        record.symlink_to(outside)
    elif kind == "folder":
        record.mkdir()
    else:
        record.write_bytes(b"" if kind == "empty" else b"x" * 100_000)
    before = outside.read_bytes()
    other = desk.open()
    assert other.ticket is None
    other.keep(TICKET)
    other.close()
    assert outside.read_bytes() == before
    assert desk.open().ticket == (TICKET if kind in ("damaged", "empty") else None)


def test_what_nobody_came_back_to_is_removed(desk: Desk) -> None:
    """By the next one that keeps a ticket; not what somebody is at."""
    urls = [f"{URL}/{number}" for number in range(3)]
    for url in urls:
        saved = desk.open(url)
        saved.keep(TICKET)
        if url != urls[0]:
            saved.close()
    long_ago = time.time() - KEPT_S - 10
    for record in desk.files:
        os.utime(record, (long_ago, long_ago))
    desk.open(URL).keep(TICKET)
    assert len(desk.files) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("min-size=0", (0, 2**62 + 1)),
        ("max-age=60", (0, 2**62 + 1)),
        ("min-size=5, max-size=7, max-age=1", (5, 8)),
        ("min-size=5;x=y,max-size=7", (5, 8)),
        ("min-size=8, max-size=7", None),
        ("min-size=x", None),
        ("max-size=-1", None),
        ("max-size=" + "9" * 30, None),
        ("max-size=\u0663", None),
    ],
)
def test_limits(text: str, expected: tuple[int, int] | None) -> None:
    """What is understood, and what is not."""
    assert upload_limit({"Upload-Limit": text}) == expected


@pytest.mark.parametrize(
    ("text", "offset"), [("5", 5), (" 0 ", 0), ("", None), ("-1", None), ("٣", None), ("1.5", None)]
)
def test_offsets(text: str, offset: int | None) -> None:
    """Digits, and nothing else."""
    assert upload_offset({"Upload-Offset": text}) == offset


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("/u/1", "http://host/u/1"),
        ("1", "http://host/folder/1"),
        ("http://host:80/u/1", "http://host/u/1"),
        ("http://user:secret@host/u", "http://host/u"),
        ("https://host/u/1", None),
        ("http://host:81/u/1", None),
        ("http://other/u/1", None),
        ("//other/u/1", None),
        ("javascript:x", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_locations_are_of_the_same_origin(location: str, found: str | None) -> None:
    """Or they are not used."""
    target = parse("http://host/folder/a")
    at = located(target, target.url, location)
    assert (at.url if at is not None else None) == found
