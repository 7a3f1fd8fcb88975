"""Include and exclude patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._client.trees.filters import Part, Selection
from netcache.errors import UsageError


def is_excluded(pattern: str, name: str, *, is_folder: bool = False) -> bool:
    """Whether one exclude pattern takes ``name`` out."""
    selection = Selection(exclude=[pattern])
    return selection.part(name, is_folder=is_folder, inside=Part.FULL) is Part.NONE


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.tmp", ["a.tmp", "b/c/.tmp", "x/a.tmp"], ["a.tmp.txt", "atmp", "a.TMP"]),
        ("a?c", ["abc", "d/axc"], ["ac", "a/c", "abbc"]),
        ("/build", ["build"], ["a/build", "builds"]),
        ("/a/*.txt", ["a/b.txt"], ["a/b/c.txt", "x/a/b.txt"]),
        ("doc/*.txt", ["doc/b.txt", "a/doc/b.txt"], ["mydoc/b.txt", "doc/c/b.txt"]),
        ("a/**", ["a/b", "a/b/c", "x/a/b"], ["a", "b/c"]),
        ("/a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz", "z"]),
        ("**/z", ["z", "a/z", "a/b/z"], ["az", "z/a"]),
        ("**", ["a", "a/b"], []),
        ("a**z", ["az", "abz", "ab/cz"], ["azb"]),
        ("[ab]c", ["ac", "bc"], ["cc", "abc"]),
        ("[a-c]", ["b", "x/c"], ["d", "-"]),
        ("[!a-c]", ["d", "-"], ["b"]),
        ("[^a]", ["b", "^"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[a[]", ["[", "a"], ["b"]),
        ("a[!b]c", ["axc"], ["a/c", "abc"]),
        (r"\*", ["*", "a/*"], ["a"]),
        (r"\[a]", ["[a]"], ["a"]),
        ("a.b+(c)|{d}$^", ["a.b+(c)|{d}$^"], ["axb+(c)|{d}$^", "a.b"]),
        ("new\nline", ["new\nline"], ["new", "line"]),
        ("*", ["new\nline", "a/b"], []),
        ("\udcff*", ["\udcffx"], ["x"]),
        ("-v", ["-v"], ["v"]),
    ],
)
def test_a_pattern_matches_what_is_written(
    pattern: str, matching: list[str], other: list[str]
) -> None:
    """Each kind of pattern matches exactly the names that the rules say."""
    assert [name for name in matching if not is_excluded(pattern, name)] == []
    assert [name for name in other if is_excluded(pattern, name)] == []


def test_a_slash_at_the_end_is_for_folders_only() -> None:
    """``cache/`` takes folders out and leaves files of that name."""
    assert is_excluded("cache/", "a/cache", is_folder=True)
    assert not is_excluded("cache/", "a/cache")
    assert is_excluded("/a/cache/", "a/cache", is_folder=True)
    assert not is_excluded("/a/cache/", "x/a/cache", is_folder=True)


def test_without_includes_all_takes_part() -> None:
    """Names that nothing excludes take part."""
    assert Selection().root is Part.FULL
    assert Selection(exclude=["x"]).part("a", is_folder=False, inside=Part.FULL) is Part.FULL


def test_with_includes_only_they_take_part_and_folders_are_searched() -> None:
    """Files need an include; other folders are passages to what may lie in them."""
    selection = Selection(include=["*.txt"])
    assert selection.root is Part.PASSAGE
    assert selection.part("a.txt", is_folder=False, inside=Part.PASSAGE) is Part.FULL
    assert selection.part("a.bin", is_folder=False, inside=Part.PASSAGE) is Part.NONE
    assert selection.part("dir", is_folder=True, inside=Part.PASSAGE) is Part.PASSAGE


def test_an_included_folder_takes_part_with_all_that_it_holds() -> None:
    """What lies in an included folder needs no include of its own."""
    selection = Selection(include=["docs/"], exclude=["*.tmp"])
    assert selection.part("x/docs", is_folder=True, inside=Part.PASSAGE) is Part.FULL
    assert selection.part("x/docs/a.bin", is_folder=False, inside=Part.FULL) is Part.FULL
    assert selection.part("x/docs/a.tmp", is_folder=False, inside=Part.FULL) is Part.NONE
    assert selection.part("x/docs", is_folder=False, inside=Part.PASSAGE) is Part.NONE


def test_excludes_win_over_includes() -> None:
    """A name that is included and excluded takes no part."""
    selection = Selection(include=["*"], exclude=["a*"])
    assert selection.part("ab", is_folder=False, inside=Part.PASSAGE) is Part.NONE
    assert selection.part("b", is_folder=False, inside=Part.PASSAGE) is Part.FULL


@pytest.mark.parametrize("pattern", ["", "/", "//", "[ab", "a\\", "[z-a]", "a[]"])
def test_a_pattern_without_meaning_is_refused(pattern: str) -> None:
    """A usage error says which pattern it was."""
    with pytest.raises(UsageError, match="pattern"):
        Selection(exclude=[pattern])


@given(st.text(st.characters(exclude_characters="/*?[\\\0"), min_size=1, max_size=8))
def test_plain_text_matches_itself_only(name: str) -> None:
    """A pattern without special characters is the name."""
    assert is_excluded(name, name)
    assert is_excluded(name, f"a/{name}")
    assert not is_excluded(name, name + "x")
    assert not is_excluded(name, f"{name}/{name}x")


@given(st.text("ab/*?[]!^-&|~\\.", max_size=8), st.text("ab/.-\n", min_size=1, max_size=8))
def test_any_pattern_is_understood_or_refused(pattern: str, name: str) -> None:
    """No pattern leads to another error than a usage error, nor to a warning."""
    try:
        selection = Selection(include=[pattern], exclude=[pattern])
    except UsageError:
        return
    selection.part(name, is_folder=True, inside=Part.PASSAGE)
