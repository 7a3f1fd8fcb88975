"""Resumable uploads: what has arrived stays, what is published is whole, and nothing gets out."""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from netcache_server import FaultRule, ServerThread
from tests.server.conftest import Serve
from tests.server.disk import digest, names, small_disk, wait_for_requests
from tests.server.wire import Answer, ask, connect, read_all, request_line, send_raw, status_of

MIB = 1 << 20
HIDDEN = ".netcache-part-uploads"


def begin(
    server: ServerThread, length: int, headers: Mapping[str, str] | None = None, name: str = "/a"
) -> Answer:
    """Begin an upload of ``length`` bytes."""
    given = {"Upload-Complete": "?0", "Upload-Length": str(length)} | dict(headers or {})
    return ask(server, "PUT", name, b"", given)


def located(server: ServerThread, length: int, headers: Mapping[str, str] | None = None) -> str:
    """The location of an upload that was begun."""
    answer = begin(server, length, headers)
    assert answer.status == 201, answer.body
    return answer.header("Location")


def add(
    server: ServerThread,
    location: str,
    offset: int,
    data: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    complete: bool = True,
) -> Answer:
    """Send more of an upload."""
    return ask(server, "PATCH", location, data, _adding(offset, complete) | dict(headers or {}))


def _adding(offset: int, complete: bool) -> dict[str, str]:
    return {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1" if complete else "?0",
    }


def offset(server: ServerThread, location: str) -> int:
    """How much the server has."""
    answer = ask(server, "HEAD", location)
    assert (answer.status, answer.header("Upload-Complete")) == (204, "?0")
    return int(answer.header("Upload-Offset"))


def adding_head(location: str, start: int, length: int) -> bytes:
    """The head of a last request, which waits for 100 Continue."""
    fields = [f"{name}: {value}" for name, value in _adding(start, True).items()]
    size = f"Content-Length: {length}"
    return request_line("PATCH", location, size, "Expect: 100-continue", *fields)


def send_some(server: ServerThread, location: str, start: int, data: bytes, length: int) -> None:
    """Send ``data`` of a last request that announces ``length``, and hang up."""
    done = len(server.requests)
    with connect(server) as connection:
        connection.sendall(adding_head(location, start, length))
        assert b"100 Continue" in connection.recv(1000)
        connection.sendall(data)
    wait_for_requests(server, done + 1)


def test_an_upload_that_goes_through_is_answered_as_a_put(server: ServerThread, root: Path) -> None:
    """201 or 204, the validators, the digest, the time; and nothing is left of it."""
    data = os.urandom(3 * MIB)
    wants = {"Want-Repr-Digest": "sha-256=10", "X-OC-Mtime": "1500000000"}
    first = begin(server, len(data), wants)
    assert (first.header("Upload-Offset"), first.header("Upload-Complete")) == ("0", "?0")
    assert "max-age=86400" in first.header("Upload-Limit")
    assert not (root / "a").exists()
    answer = add(server, first.header("Location"), 0, data)
    assert (answer.status, answer.header("Upload-Complete")) == (201, "?1")
    assert answer.header("Repr-Digest") == digest(data)
    assert answer.header("X-OC-Mtime") == "accepted"
    assert answer.header("ETag") == ask(server, "GET", "/a").header("ETag")
    assert (root / "a").stat().st_mtime == 1_500_000_000
    assert (root / "a").read_bytes() == data
    assert names(root) == ["a"]
    assert ask(server, "HEAD", first.header("Location")).status == 404
    assert add(server, located(server, 3), 0, b"new").status == 204
    assert (root / "a").read_bytes() == b"new"


def test_it_is_announced_in_the_answer_to_options(serve: Serve) -> None:
    """Where it is offered, and nowhere else; with the largest body."""
    assert "min-size=0" in ask(serve(), "OPTIONS", "/").header("Upload-Limit")
    assert "max-size=7," in ask(serve(max_body_bytes=7), "OPTIONS", "/").header("Upload-Limit")
    for options in ({"read_only": True}, {"resumable_uploads": False}):
        assert ask(serve(**options), "OPTIONS", "/").headers["Upload-Limit"] is None


@pytest.mark.parametrize("seed", range(6))
def test_cuts_at_random_offsets_lose_and_mix_nothing(
    server: ServerThread, root: Path, seed: int
) -> None:
    """However often and wherever it breaks off, the server tells what it has, and it is right."""
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([1, 1000, MIB, 5 * MIB + 7]))
    location, have = located(server, len(data), {"Repr-Digest": digest(data)}), 0
    for _ in range(8):
        end = rng.randint(have, len(data) - 1)
        send_some(server, location, have, data[have:end], len(data) - have)
        told = offset(server, location)
        assert have <= told <= end, f"seed {seed}"
        (file,) = (path for path in (root / HIDDEN).iterdir() if path.suffix != ".json")
        assert file.read_bytes() == data[:told], f"seed {seed}"
        assert not (root / "a").exists()
        have = told
    last = add(server, location, have, data[have:], {"Want-Repr-Digest": "sha-256=10"})
    assert (last.status, last.header("Repr-Digest")) == (201, digest(data)), f"seed {seed}"
    assert (root / "a").read_bytes() == data, f"seed {seed}"
    assert names(root) == ["a"]


@pytest.mark.parametrize("size", [40_000, 5 * MIB])
def test_all_that_came_before_the_end_of_the_connection_is_kept(
    server: ServerThread, size: int
) -> None:
    """Not a byte that the server had received is asked for again."""
    location = located(server, 10 * MIB)
    send_some(server, location, 0, bytes(size), 10 * MIB)
    assert offset(server, location) == server.requests[-2]["bytes_received"] == size


def test_another_server_of_the_folder_goes_on(serve: Serve, root: Path) -> None:
    """What has arrived outlives the server that received it."""
    data = os.urandom(3 * MIB)
    first = serve(fsync=True)
    location = located(first, len(data), {"Repr-Digest": digest(data)})
    send_some(first, location, 0, data[:MIB], len(data))
    first.stop()
    second = serve(fsync=True)
    assert offset(second, location) == MIB
    assert add(second, location, MIB, data[MIB:]).status == 201
    assert (root / "a").read_bytes() == data


def test_parts_may_be_sent_one_by_one(server: ServerThread, root: Path) -> None:
    """Until one says that it is the last."""
    location = located(server, 6)
    answer = add(server, location, 0, b"abc", complete=False)
    assert (answer.status, answer.header("Upload-Offset")) == (204, "3")
    assert add(server, location, 3, b"def", complete=False).status == 204
    assert not (root / "a").exists()
    assert add(server, location, 6, b"").status == 201
    assert (root / "a").read_bytes() == b"abcdef"


@pytest.mark.parametrize("replaced", [True, False])
def test_the_preconditions_of_the_beginning_count_at_the_end(
    server: ServerThread, root: Path, replaced: bool
) -> None:
    """Who changes the target meanwhile wins, and the upload is over."""
    condition = {"If-None-Match": "*"}
    if replaced:
        condition = {"If-Match": ask(server, "PUT", "/a", b"one").header("ETag")}
    location = located(server, 5, condition)
    assert add(server, location, 0, b"ab", complete=False).status == 204
    ask(server, "PUT", "/a", b"two")
    assert add(server, location, 2, b"cde").status == 412
    assert (root / "a").read_bytes() == b"two"
    assert ask(server, "HEAD", location).status == 404
    assert names(root) == ["a"]
    assert begin(server, 5, condition).status == 412


def test_a_wrong_offset_is_told_before_the_body(server: ServerThread) -> None:
    """409 with the right one, and nothing is taken."""
    location = located(server, 100)
    add(server, location, 0, bytes(10), complete=False)
    for wrong in (0, 9, 11, 100):
        with connect(server) as connection:
            connection.sendall(adding_head(location, wrong, 100 - wrong))
            answer = connection.recv(1000)
        assert status_of(answer) == 409
        assert b"Upload-Offset: 10\r\n" in answer
    assert offset(server, location) == 10


def test_a_second_request_is_refused_while_one_adds(server: ServerThread, root: Path) -> None:
    """423, and nothing of it gets between."""
    location = located(server, 4 * MIB)
    with connect(server) as connection:
        connection.sendall(adding_head(location, 0, 4 * MIB))
        assert b"100 Continue" in connection.recv(1000)
        assert add(server, location, 0, b"x" * 4 * MIB).status == 423
        connection.sendall(b"y" * 4 * MIB)
        assert status_of(connection.recv(1000)) == 201
    assert (root / "a").read_bytes() == b"y" * 4 * MIB


def test_asking_ends_the_request_whose_client_is_lost(server: ServerThread, root: Path) -> None:
    """A client that comes back after a crash need not wait for its former connection."""
    data = os.urandom(4 * MIB)
    location = located(server, len(data))
    with connect(server) as connection:
        connection.sendall(adding_head(location, 0, len(data)) + data[: 2 * MIB])
        have = offset(server, location)
        assert have <= 2 * MIB
        assert add(server, location, have, data[have:]).status == 201
    assert (root / "a").read_bytes() == data


def test_digests_are_checked(server: ServerThread, root: Path) -> None:
    """A bad part is not kept; a whole that is not what it should be never appears."""
    ask(server, "PUT", "/a", b"old")
    location = located(server, 8)
    assert add(server, location, 0, b"abcd", complete=False).status == 204
    bad = {"Content-Digest": digest(b"other")}
    assert add(server, location, 4, b"efgh", bad, complete=False).status == 400
    assert add(server, location, 4, b"efgh", bad).status == 400
    assert offset(server, location) == 4
    assert add(server, location, 4, b"efgh", {"X-Upload-Repr-Digest": "nonsense"}).status == 400
    whole = {"X-Upload-Repr-Digest": digest(b"abcdEFGH")}
    assert add(server, location, 4, b"efgh", whole).status == 400
    assert ask(server, "HEAD", location).status == 404
    for before in (0, 4):
        location = located(server, 8, {"Repr-Digest": digest(b"abcdEFGH")})
        if before:
            add(server, location, 0, b"abcd", complete=False)
        assert add(server, location, before, b"abcdefgh"[before:]).status == 400
        assert (root / "a").read_bytes() == b"old"
        assert names(root) == ["a"]
    location = located(server, 8)
    add(server, location, 0, b"abcd", complete=False)
    good = {"X-Upload-Repr-Digest": digest(b"abcdefgh"), "Want-Repr-Digest": "sha-256=10"}
    answer = add(server, location, 4, b"efgh", good)
    assert (answer.status, answer.header("Repr-Digest")) == (204, digest(b"abcdefgh"))


def test_an_upload_can_be_forgotten(server: ServerThread, root: Path) -> None:
    """Then there is nothing of it, and nothing goes on."""
    location = located(server, 8)
    add(server, location, 0, b"abcd", complete=False)
    assert ask(server, "DELETE", location).status == 204
    assert names(root) == []
    assert ask(server, "DELETE", location).status == 404
    assert add(server, location, 4, b"efgh").status == 404


def test_an_upload_that_nobody_touches_expires(
    server: ServerThread, serve: Serve, root: Path
) -> None:
    """After a day it is not found, and the next beginning, or the next server, removes it."""
    for tidy in ("begin", "server"):
        location = located(server, 8)
        add(server, location, 0, b"abcd", complete=False)
        token = location.rpartition("/")[2]
        os.utime(root / HIDDEN / f"{token}.json", (1, 1))
        assert ask(server, "HEAD", location).status == 404
        assert add(server, location, 4, b"efgh").status == 404
        if tidy == "begin":
            other = located(server, 8)
            assert len(list((root / HIDDEN).iterdir())) == 2
            ask(server, "DELETE", other)
        else:
            serve()
        assert names(root) == []


def test_an_old_upload_goes_though_nobody_asks(
    serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that runs for long does not keep it for longer."""
    monkeypatch.setattr("netcache_server.resuming.SWEEP_S", 0.01)
    server = serve()
    location = located(server, 8)
    os.utime(root / HIDDEN / f"{location.rpartition('/')[2]}.json", (1, 1))
    ticks = threading.Event()
    for _ in range(2000):
        if names(root) == []:
            return
        ticks.wait(0.005)
    raise AssertionError(f"still there: {names(root)}")


def test_a_server_that_stops_in_the_middle_keeps_what_it_has(serve: Serve, root: Path) -> None:
    """An orderly end is no worse than a kill."""
    data = os.urandom(3 * MIB)
    first = serve()
    location = located(first, len(data))
    with connect(first) as connection:
        connection.sendall(adding_head(location, 0, len(data)))
        assert b"100 Continue" in connection.recv(1000)
        connection.sendall(data[: 2 * MIB])
        part = root / HIDDEN / location.rpartition("/")[2]
        while part.stat().st_size < MIB:
            os.sched_yield()
        first.stop()
    second = serve()
    have = offset(second, location)
    assert MIB <= have <= 2 * MIB
    assert add(second, location, have, data[have:]).status == 201
    assert (root / "a").read_bytes() == data


def test_what_a_crash_left_half_is_removed(server: ServerThread, root: Path) -> None:
    """A record without bytes, bytes without a record, a damaged record, a published file."""
    tokens = []
    for _ in range(4):
        location = located(server, 4)
        add(server, location, 0, b"abcd", complete=False)
        tokens.append(location.rpartition("/")[2])
    folder = root / HIDDEN
    (folder / tokens[0]).unlink()
    (folder / f"{tokens[1]}.json").unlink()
    (folder / f"{tokens[2]}.json").write_text("{")
    os.link(folder / tokens[3], root / "a")
    for token in tokens:
        assert ask(server, "HEAD", f"/.netcache/uploads/{token}").status == 404
    ask(server, "DELETE", located(server, 1))
    assert names(root) == ["a"]
    assert (root / "a").read_bytes() == b"abcd"


def test_uploads_are_bounded_in_number_and_room(
    server: ServerThread, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all of them lack must fit, and there are not too many."""
    monkeypatch.setattr("netcache_server.partial.MAX_UPLOADS", 3)
    room = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    first = located(server, int(room * 0.6))
    assert begin(server, int(room * 0.6)).status == 507
    assert ask(server, "DELETE", first).status == 204
    for _ in range(3):
        located(server, 1)
    assert begin(server, 1).status == 503


def test_only_its_location_leads_to_an_upload(server: ServerThread, root: Path) -> None:
    """No path, listing or other method shows it or changes it."""
    (root / "b").write_bytes(b"x")
    location = located(server, 8)
    add(server, location, 0, b"SECRET", complete=False)
    token = location.rpartition("/")[2]
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert token not in ask(server, "GET", "/").body.decode()
    assert HIDDEN not in ask(server, "GET", "/").body.decode()
    for path in (f"/{HIDDEN}/{token}", f"/{HIDDEN}/", f"/x/../{HIDDEN}/{token}", "/.netcache/"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "MOVE"):
            assert ask(server, method, path, b"").status in (400, 403, 404), (method, path)
    to = {"Destination": f"/{HIDDEN}/{token}"}
    assert ask(server, "MOVE", "/b", headers=to).status == 403
    for method in ("GET", "PUT", "MOVE", "MKCOL"):
        answer = ask(server, method, location, b"")
        assert (answer.status, answer.header("Allow")) == (405, "HEAD, PATCH, DELETE")
        assert b"SECRET" not in answer.body
    uploads = "/.netcache/uploads"
    for guess in (f"{token}.json", "..%2fb", "%2e%2e", "b", token[:-1], token.upper(), token * 2):
        for method in ("HEAD", "PATCH", "DELETE"):
            headers = {"Content-Type": "application/partial-upload"}
            answer = ask(server, method, f"{uploads}/{guess}", b"", headers)
            assert answer.status in (400, 404), (method, guess)
    assert offset(server, location) == 6
    assert sorted(os.listdir(root)) == [HIDDEN, "b"]
    assert (root / HIDDEN).stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_uploads_is_not_followed(
    server: ServerThread, serve: Serve, root: Path, tmp_path: Path
) -> None:
    """Nothing is written outside, whoever put the link there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / HIDDEN).symlink_to(outside)
    for each in (server, serve()):  # one that starts is not kept from starting
        assert begin(each, 8).status == 501
        assert ask(each, "HEAD", f"/.netcache/uploads/{'0' * 32}").status == 501
    assert list(outside.iterdir()) == []


def test_credentials_are_asked_for_everywhere(serve: Serve) -> None:
    """A location is no credential."""
    server = serve(token="secret")
    known = {"Authorization": "Bearer secret"}
    location = located(server, 4, known)
    for method in ("HEAD", "PATCH", "DELETE"):
        assert ask(server, method, location, b"abcd", _adding(0, True)).status == 401
    assert begin(server, 4).status == 401
    assert add(server, location, 0, b"abcd", known).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Length": "x"},
        {"Upload-Length": "-1"},
        {"Upload-Length": "9" * 40},
        {"Upload-Length": ""},
        {"Upload-Complete": "yes"},
    ],
)
def test_nonsense_begins_nothing(server: ServerThread, root: Path, headers: dict[str, str]) -> None:
    """400, and nothing is there."""
    assert begin(server, 8, headers).status == 400
    assert names(root) == []


def test_nonsense_adds_nothing(server: ServerThread, serve: Serve) -> None:
    """Lengths that do not fit, a body where none belongs, other types."""
    assert (
        ask(server, "PUT", "/a", b"x", {"Upload-Complete": "?0", "Upload-Length": "8"}).status
        == 400
    )
    assert begin(server, 8, name="/folder/").status == 400
    location = located(server, 8)
    assert add(server, location, 0, bytes(9)).status == 400
    assert add(server, location, 0, bytes(7)).status == 400
    assert add(server, location, 0, bytes(9), complete=False).status == 400
    assert add(server, location, 0, bytes(8), {"Upload-Offset": "-1"}).status == 400
    assert add(server, location, 0, bytes(8), {"Upload-Complete": "1"}).status == 400
    assert add(server, location, 0, bytes(8), {"Content-Type": "text/plain"}).status == 415
    chunked = ask(server, "PATCH", location, iter([bytes(8)]), _adding(0, True))
    assert chunked.status == 411
    assert offset(server, location) == 0
    assert begin(serve(max_body_bytes=7), 8).status == 413
    complete = ask(server, "PUT", "/whole", b"at once", {"Upload-Complete": "?1"})
    assert complete.status == 201


@pytest.mark.parametrize("count", [1, 3 * MIB])
def test_faults_meet_these_requests(server: ServerThread, root: Path, count: int) -> None:
    """Cut after so many bytes, and an answer that is lost."""
    data = os.urandom(5 * MIB)
    location = located(server, len(data))
    server.set_faults([FaultRule(method=("PATCH",), upload_cut_after=count, count=1)])
    with connect(server) as connection, contextlib.suppress(OSError):
        connection.sendall(adding_head(location, 0, len(data)))
        connection.sendall(data)
        read_all(connection)
    have = offset(server, location)
    assert max(0, count - 16 * 1024) <= have <= count + 16 * 1024
    server.set_faults([FaultRule(method=("PATCH",), lose_reply=True, count=1)])
    answer = send_raw(server, adding_head(location, have, len(data) - have) + data[have:])
    assert answer == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (root / "a").read_bytes() == data
    assert ask(server, "HEAD", location).status == 404


@pytest.mark.root
def test_full_disk(serve: Serve, tmp_path: Path) -> None:
    """What had room is kept; with room again, the upload goes on."""
    with small_disk(tmp_path / "full", "4m") as folder:
        server = serve(root=folder)
        data = os.urandom(3 * MIB)
        location = located(server, len(data))
        (folder / "filler").write_bytes(bytes(2 * MIB))
        assert add(server, location, 0, data).status == 507
        assert add(server, location, 0, data[:MIB], complete=False).status == 204
        assert begin(server, 2 * MIB).status == 507
        (folder / "filler").unlink()
        assert add(server, location, MIB, data[MIB:]).status == 201
        assert (folder / "a").read_bytes() == data
        server.stop()


@pytest.mark.parametrize("condition", ["create", "replace"])
def test_of_concurrent_conditional_uploads_exactly_one_wins(
    serve: Serve, root: Path, condition: str
) -> None:
    """All have begun before any is complete, at two servers of one folder."""
    servers = serve(), serve()
    headers = {"If-None-Match": "*"}
    if condition == "replace":
        headers = {"If-Match": ask(servers[0], "PUT", "/a", b"old").header("ETag")}
    count, size = 6, 100_000
    locations = [located(servers[number % 2], size, headers) for number in range(count)]
    barrier = threading.Barrier(count)
    statuses: list[int] = []

    def upload(number: int) -> None:
        barrier.wait(20)
        # At the other server than the one where it was begun.
        answer = add(servers[1 - number % 2], locations[number], 0, bytes([number]) * size)
        statuses.append(answer.status)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    won = 201 if condition == "create" else 204
    assert sorted(statuses) == sorted([won] + [412] * (count - 1))
    assert len(set((root / "a").read_bytes())) == 1
    assert names(root) == ["a"]
