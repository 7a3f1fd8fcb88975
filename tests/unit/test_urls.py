"""Resource URLs: one spelling each, credentials apart, one cache key a resource."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netcache._core.urls import (
    Resource,
    _parse_any,
    _parse_canonical,
    as_file,
    as_folder,
    child,
    is_url,
    parent,
    parse,
    strip_credentials,
)
from netcache.errors import UsageError

hosts = st.sampled_from(["h", "Example.COM", "10.0.0.1", "[::1]", "bücher.example", "a-b.c"])
path_text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/.%?#2eEfF~+&= "), max_size=12
)
names = st.text(min_size=1, max_size=8).filter(lambda n: "/" not in n and n not in (".", ".."))


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://h:80/a", "http://h/a"),
        ("https://h:443/a", "https://h/a"),
        ("https://h:80/a", "https://h:80/a"),
        ("http://h:/a", "http://h/a"),
        ("http://h/a#part", "http://h/a"),
        ("http://h/a b", "http://h/a%20b"),
        ("http://h/%7euser/%2e%2e/x", "http://h/x"),
        ("http://h/a/./b/../c", "http://h/a/c"),
        ("http://h/a/..", "http://h/"),
        ("http://h/../../a", "http://h/a"),
        ("http://h/a/.", "http://h/a/"),
        ("http://h/a%2fb", "http://h/a%2Fb"),
        ("http://h/%zz", "http://h/%25zz"),
        ("http://h/ü", "http://h/%C3%BC"),
        ("http://h?q=1", "http://h/?q=1"),
        ("http://h/a?x=/..&y=%41", "http://h/a?x=/..&y=A"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://u:p@h/a", "http://h/a"),
    ],
)
def test_a_resource_has_one_spelling(spelled: str, canonical: str) -> None:
    """Scheme, host, port, dot segments and escapes are normalised (RFC 3986 6.2.2)."""
    assert parse(spelled).url == canonical


@given(hosts, path_text)
@example("h", "%2%35")
@example("h", "%%41")
@example("h", "a/%2E%2E%2Fb/..")
def test_parsing_the_canonical_spelling_changes_nothing(host: str, rest: str) -> None:
    """Canonicalisation is idempotent."""
    try:
        once = parse(f"http://{host}/{rest}")
    except UsageError:
        return
    assert parse(once.url) == once
    assert once.url == once.origin + once.path + (f"?{once.query}" if once.query else "")
    assert once.url.isascii()


canonical_text = st.text(st.sampled_from("ab09/.-_~:;=&?@!$+,'()*%A#"), max_size=12)


@given(
    st.sampled_from(["http", "https"]),
    st.sampled_from(
        ["h", "a-b.c", "10.0.0.1", "h:80", "h:443", "h:8080", "h:080", "h:59999", ".h"]
    ),
    canonical_text,
)
@example("http", "h", "/..")
@example("http", "h", "?")
@example("https", "h", "?a?b")
@example("http", "h", "/x/.y")
def test_a_url_that_is_canonical_is_parsed_as_any_other(scheme: str, host: str, rest: str) -> None:
    """What one match decides is what taking the URL apart decides."""
    url = f"{scheme}://{host}/{rest}"
    quick = _parse_canonical(url)
    if quick is not None:
        assert quick == _parse_any(url)
        assert quick.url == url


def test_most_urls_are_parsed_by_one_match() -> None:
    """Parsing is on the way of every open."""
    for url in (
        "http://127.0.0.1:8080/many/1.bin",
        "https://example.org/a/b-c_d~e/(f)?x=1&y=/2",
        "http://h/",
    ):
        assert _parse_canonical(url) is not None


@given(path_text, path_text)
@example("", "/")
@example("/", "?q")
@example("?q", "//?q")
def test_two_resources_never_share_a_key(one: str, two: str) -> None:
    """Volume key and object key together are the URL: different URLs, different keys."""
    try:
        first, second = parse(f"http://h/{one}"), parse(f"http://h/{two}")
    except UsageError:
        return
    if first.url != second.url:
        assert first.object_key != second.object_key
    else:
        assert first.object_key == second.object_key


@pytest.mark.parametrize("url", ["http://h/", "https://h/", "http://h:81/", "http://[::1]:81/"])
def test_the_volume_key_names_the_origin(url: str) -> None:
    """It begins with our name, has no slash, is printable, and differs between origins."""
    key = parse(url).volume_key
    assert key.startswith("netcache,")
    assert "/" not in key
    assert key.isprintable()
    assert key == parse(url + "other/path?q").volume_key
    origins = {parse(u).volume_key for u in ("http://h/", "https://h/", "http://h:81/", url)}
    assert len(origins) == 3 + (url == "http://[::1]:81/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/path",
        "ftp://h/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://u@/",
        "http://h:99999/",
        "http://h:port/",
        "http://[::1/",
        "http://a b/",
        "http://h\x7f/",
        "mailto:a@b",
    ],
)
def test_what_is_no_resource_is_a_usage_error(url: str) -> None:
    """An unusable URL raises ``UsageError`` with one line that says why."""
    with pytest.raises(UsageError) as caught:
        parse(url)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30) | st.text(max_size=20).map("http://h/{}".format))
@example("http://h/\udcff")
@example("http://h/?\udcff")
@example("http://\udcff/")
def test_any_text_is_parsed_or_refused_with_a_usage_error(text: str) -> None:
    """No input raises anything but ``UsageError``, not even text from undecodable arguments."""
    with contextlib.suppress(UsageError):
        assert parse(text).url.isascii()


@pytest.mark.parametrize("control", ["\n", "\r", "\t", "\0"])
def test_control_characters_never_name_another_resource(control: str) -> None:
    """A control character is refused or escaped, never dropped in silence."""
    try:
        resource = parse(f"http://h/a{control}b")
    except UsageError:
        return
    assert resource.path == f"/a%{ord(control):02X}b"


def test_credentials_are_cut_off_and_decoded() -> None:
    """User and password leave the URL and are given decoded."""
    resource = parse("http://us%40er:p%3Ass@h/a")
    assert (resource.user, resource.password) == ("us@er", "p:ss")
    assert "@" not in resource.url + resource.volume_key + resource.origin
    assert parse("http://h/a@b").user is None


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@h:port/",
        " http://user:secret@h:port/",
        "http://user:sec/secret@h/",
        "//user:secret@h/",
        "user:secret@h/path",
        "ftp://user:secret@h/",
        "ht\ttp://user:secret@h:port/",
        "http://user:secret@/",
        "http://user:secret@[::1/",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    """Credentials stay out of the message whatever else is wrong with the URL."""
    with pytest.raises(UsageError) as caught:
        parse(url)
    assert "sec" not in str(caught.value)
    assert "secret" not in str(caught.value.url)


def test_strip_credentials_shows_nothing_before_the_last_at() -> None:
    """What stands before an @ may be a password with a slash in it, so it is never shown."""
    assert strip_credentials("http://u:p@h/a") == "http://h/a"
    assert strip_credentials("http://u:p/q@h/") == "http://h/"
    assert strip_credentials("http://h/a?b") == "http://h/a?b"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("http://h/", True),
        ("HTTPS://h/", True),
        ("/tmp/http://h", False),
        ("httpd.conf", False),
        ("C:\\x", False),
        ("-", False),
    ],
)
def test_is_url_tells_urls_from_paths(text: str, answer: bool) -> None:
    """Only what begins like a URL is one."""
    assert is_url(text) is answer


@given(names, st.booleans())
@example("%2E%2E", False)
@example("a\udcffb", False)
@example("~x y?#", True)
@example("\ud800", False)
def test_a_child_bears_the_name_it_was_given(name: str, is_folder: bool) -> None:
    """The name of a child decodes to what was asked for, and its URL is canonical."""
    try:
        inside = child(parse("http://h/folder"), name, is_folder=is_folder)
    except UsageError:
        assert any(0xD800 <= ord(c) < 0xDC80 or 0xDCFF < ord(c) <= 0xDFFF for c in name)
        return
    assert inside.name == name
    assert inside.is_folder is is_folder
    assert inside.url.startswith("http://h/folder/")
    assert parse(inside.url) == inside


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/"])
def test_a_child_cannot_leave_its_folder(name: str) -> None:
    """Names that mean another place are refused."""
    with pytest.raises(UsageError):
        child(parse("http://h/folder/"), name)


def test_a_resource_is_in_its_parent() -> None:
    """Files and folders, without the query; the root is in nothing."""
    for url, above in (
        ("http://h/a/b?c=/d", "http://h/a/"),
        ("http://h/a/b/", "http://h/a/"),
        ("http://h/a", "http://h/"),
    ):
        assert parent(parse(url)) == parse(above)
    assert parent(parse("http://h/")) is None


def test_folder_and_file_spellings() -> None:
    """A trailing slash is added and taken away, the root keeps its own, the query stays."""

    def spelled(change: object, url: str) -> str:
        assert callable(change)
        resource = change(parse(url))
        assert isinstance(resource, Resource)
        assert parse(resource.url) == resource
        return resource.url

    assert spelled(as_folder, "http://h/a?q") == "http://h/a/?q"
    assert spelled(as_folder, "http://h/a/") == "http://h/a/"
    assert spelled(as_file, "http://h/a/?q") == "http://h/a?q"
    assert spelled(as_file, "http://h/") == "http://h/"
