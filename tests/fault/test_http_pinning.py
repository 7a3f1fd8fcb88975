"""The ladder of pins: what an origin ignores is not asked again; later clients know it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import netcache
from netcache._client.saved_origins import ORIGINS_MAX, add_origins, read_origins
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.extent import Extent
from netcache.backends.http_origins import REMEMBERED_S, OriginNotes
from netcache.backends.http_pinning import Pin
from netcache.errors import StaleError
from netcache.spi import OriginCapabilities
from tests.support.http_rig import MakeClient
from tests.support.proxy import Script, Seen, answer, scripted_server
from tests.support.served import random_bytes, serve

SIZE = 1000
BYTES = Extent(0, 10)
OLD = Version(Validator(ValidatorKind.STRONG_ETAG, '"old"'), SIZE)
ORIGIN = "http://h"
NOW_S = 1e9


def origin_with(*minded: str) -> Script:
    """A server of the version ``"new"`` that minds only these fields."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if "if-match" in minded and seen.headers.get("if-match") == '"old"':
            writer.write(answer(412))
        elif "if-range" in minded and seen.headers.get("if-range") == '"old"':
            writer.write(answer(200, bytes(SIZE), ETag='"new"'))
        else:
            place = f"bytes 0-9/{SIZE}"
            writer.write(answer(206, bytes(10), ETag='"new"', Content_Range=place))

    return script


@pytest.mark.parametrize(
    ("minded", "sent"),
    [
        (("if-match", "if-range"), ["if-match", "if-match", "if-match", "if-match"]),
        (("if-range",), ["if-match", "if-range", "if-range", "if-range"]),
        ((), ["if-match", "if-range", "", ""]),
    ],
)
async def test_an_origin_goes_down_the_ladder_to_what_it_minds(
    make_client: MakeClient, minded: tuple[str, ...], sent: list[str]
) -> None:
    """Each read of the old version is stale, whatever the origin minds."""
    async with scripted_server(origin_with(*minded)) as server:
        backend = make_client()
        for _ in sent:
            with pytest.raises(StaleError):
                await backend.open_read(server.url + "a", BYTES, expected=OLD)
        fields = [
            next((name for name in ("if-match", "if-range") if name in seen.headers), "")
            for seen in server.seen
        ]
        assert fields == sent
        later = make_client()
        later.recall(json.loads(json.dumps(backend.remembered(NOW_S))), NOW_S)
        with pytest.raises(StaleError):
            await later.open_read(server.url + "a", BYTES, expected=OLD)
        assert sent[-1] in ("", *server.seen[-1].headers)
        assert "if-match" not in server.seen[-1].headers or sent[-1] == "if-match"


async def test_a_size_that_differs_is_no_proof_that_a_pin_is_ignored(
    make_client: MakeClient,
) -> None:
    """The same version, told with another length: the server minds what it was asked."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(answer(206, bytes(10), ETag='"old"', Content_Range="bytes 0-9/999"))

    async with scripted_server(script) as server:
        backend = make_client()
        for _ in range(2):
            with pytest.raises(StaleError):
                await backend.open_read(server.url + "a", BYTES, expected=OLD)
        assert ["if-match" in seen.headers for seen in server.seen] == [True, True]


def test_notes_are_remembered_for_a_day_and_nonsense_is_passed_over() -> None:
    """What is old is learnt again; what writes rest on is never remembered."""
    notes = OriginNotes()
    notes.saw_ranges(ORIGIN, True)
    notes.saw_multi_ranges(ORIGIN, False)
    notes.saw_pin_ignored(ORIGIN, Pin.IF_MATCH, 206)
    notes.saw_condition_minded(ORIGIN)
    document = notes.as_document(NOW_S)
    for age_s, known in ((0, True), (REMEMBERED_S, True), (REMEMBERED_S + 1, False), (-1, False)):
        later = OriginNotes()
        later.recall(document, NOW_S + age_s)
        expected = OriginCapabilities(ranges=True, multi_ranges=False)
        assert later.capabilities(ORIGIN) == (expected if known else OriginCapabilities())
        assert later.pin(ORIGIN) is (Pin.IF_RANGE if known else Pin.IF_MATCH)
        assert not later.minds_conditions(ORIGIN)
        if known:
            assert later.as_document(NOW_S + age_s) == document
    documents: tuple[object, ...] = (None, [], {"a": 1}, {"a": {"learnt_s": "x"}}, {1: {}})
    for nonsense in documents:
        OriginNotes().recall(nonsense, NOW_S)
    strange = OriginNotes()
    strange.recall({ORIGIN: {"learnt_s": NOW_S, "ranges": "yes", "pin": "if-lucky"}}, NOW_S)
    assert strange.capabilities(ORIGIN) == OriginCapabilities()
    assert strange.pin(ORIGIN) is Pin.IF_MATCH


def test_the_file_of_origins_is_bounded_and_may_be_damaged(tmp_path: Path) -> None:
    """The newest stay; a file that is no JSON is no file."""
    directory = str(tmp_path)
    many: dict[str, dict[str, object]] = {
        f"http://h{number}": {"learnt_s": float(number)} for number in range(ORIGINS_MAX + 5)
    }
    add_origins(directory, many)
    kept = read_origins(directory)
    assert len(kept) == ORIGINS_MAX
    assert "http://h0" not in kept
    for text in ("", "[1, 2]", "{", '{"a": 3}'):
        (tmp_path / "origins").write_text(text)
        assert read_origins(directory) == {}
    add_origins(directory, {ORIGIN: {"learnt_s": 1.0}})
    assert list(read_origins(directory)) == [ORIGIN]


def test_a_later_client_does_not_ask_again_what_the_origin_offers(tmp_path: Path) -> None:
    """``OPTIONS`` once; no secrets in the file."""
    with serve(tmp_path / "www", user="me:secret") as served:
        url = served.put("data", random_bytes(100_000))
        for _ in range(2):
            with (
                netcache.Client(cache_dir=tmp_path / "cache", auth="me:secret") as client,
                client.open(url, "r+b") as file,
            ):
                file.pwrite(b"edited", 100)
        assert served.count("OPTIONS") == 1
        assert served.count("PATCH") == 2
    saved = tmp_path / "cache" / "origins"
    assert list(json.loads(saved.read_text())) == [url.rsplit("/", 1)[0]]
    assert "secret" not in saved.read_text()
    assert saved.stat().st_mode & 0o777 == 0o600
