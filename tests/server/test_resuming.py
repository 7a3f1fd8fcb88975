"""Resumable uploads: what has arrived stays, and what is published is whole."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from pathlib import Path

import pytest

from netcache_server import FaultRule, ServerThread
from tests.server.conftest import Serve
from tests.server.disk import digest, names
from tests.server.resuming import HIDDEN, MIB, add, adding_head, begin, located, offset, send_some
from tests.server.wire import ask, connect, read_all, send_raw, status_of


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
