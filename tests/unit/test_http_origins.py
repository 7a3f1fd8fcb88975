"""Notes of origins: replies that tell nothing are passed over, and only those."""

from __future__ import annotations

from multidict import CIMultiDict

from netcache.backends.http_origins import OriginNotes

ORIGIN = "http://there"
DULL = CIMultiDict({"Server": "some", "ETag": '"1"'})


def test_a_reply_that_tells_nothing_does_not_hide_what_a_later_one_tells() -> None:
    """However the names are spelled, and though the fields have the same names as before."""
    notes = OriginNotes()
    for _ in range(2):
        notes.saw_reply(ORIGIN, DULL)
    assert notes.capabilities(ORIGIN).patch is None
    odd = CIMultiDict({"dAV": "1"})
    for _ in range(2):
        notes.saw_reply(ORIGIN, odd)
    notes.saw_reply(ORIGIN, CIMultiDict({"dAV": "1, sabredav-partialupdate"}))
    notes.saw_reply(ORIGIN, CIMultiDict({**DULL, "want-repr-digest": "sha-256=1"}))
    known = notes.capabilities(ORIGIN)
    assert (known.patch, known.digests) == (True, True)


def test_another_program_with_the_same_fields_is_noticed() -> None:
    """A proxy may let several answer."""
    notes = OriginNotes()
    for program in ("some", "some", "nginx/1.0", "netcache/1"):
        notes.saw_reply(ORIGIN, CIMultiDict({"Server": program}))
    assert notes.capabilities(ORIGIN).upload_versions is False
    assert notes.minds_conditions(ORIGIN)


def test_what_is_recalled_is_completed_by_the_next_reply() -> None:
    """As if it were the first."""
    notes = OriginNotes()
    nginx = CIMultiDict({"Server": "nginx"})
    notes.saw_reply(ORIGIN, nginx)
    notes.recall({ORIGIN: {"learnt_s": 0.0, "ranges": True}}, 1.0)
    assert notes.capabilities(ORIGIN).upload_versions is None
    notes.saw_reply(ORIGIN, nginx)
    assert notes.capabilities(ORIGIN).upload_versions is False


def test_that_times_are_kept_is_remembered_longer_than_the_rest() -> None:
    """Only an upload tells it: a tree that has none to make would never learn it again."""
    notes = OriginNotes()
    notes.saw_mtime(ORIGIN, True)
    notes.saw_ranges(ORIGIN, True)
    later = OriginNotes()
    later.recall(notes.as_document(0.0), 1_000_000.0)
    known = later.capabilities(ORIGIN)
    assert (known.keeps_mtime, known.ranges) == (True, None)
    later.saw_mtime(ORIGIN, False)
    assert later.as_document(1_000_000.0)[ORIGIN]["keeps_mtime"] is False
