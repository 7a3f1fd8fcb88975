"""Digest fields as values (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from pathlib import Path

import pytest

from netcache_server.digest import (
    BadDigestError,
    FollowingHasher,
    Hasher,
    format_sha256,
    parse_digests,
    wants_sha256,
)

SHA = hashlib.sha256(b"x").digest()
TEXT = base64.b64encode(SHA).decode()


def test_known_algorithms_are_read_and_others_left_out() -> None:
    """A list of digests gives those that can be checked."""
    header = f"md5=:AAAA:, sha-256=:{TEXT}:;p=1"
    assert parse_digests("Content-Digest", header) == {"sha256": SHA}
    assert format_sha256(SHA) == f"sha-256=:{TEXT}:"


@pytest.mark.parametrize("header", ["", "sha-256", "sha-256=abc", "sha-256=:!:", "sha-256=:AAAA:"])
def test_bad_digests_are_refused(header: str) -> None:
    """Bad syntax and a wrong length are errors, not absence."""
    with pytest.raises(BadDigestError, match="Repr-Digest"):
        parse_digests("Repr-Digest", header)


def test_wanting() -> None:
    """A preference above 0 wants, 0 does not."""
    assert wants_sha256("sha-512=3, sha-256=1")
    assert not wants_sha256("sha-256=0")
    assert not wants_sha256("sha-512=3")
    assert not wants_sha256(None)


def test_hasher_compares() -> None:
    """What was announced is compared with what came."""
    hasher = Hasher({"sha256"})
    hasher.update(b"x")
    hasher.check("Content-Digest", {"sha256": SHA})
    hasher.update(b"y")
    with pytest.raises(BadDigestError, match="Content-Digest"):
        hasher.check("Content-Digest", {"sha256": SHA})


@pytest.mark.parametrize("seed", range(20))
def test_a_hasher_that_follows_a_growing_file_hashes_all_of_it_once(
    tmp_path: Path, seed: int
) -> None:
    """However its two threads fall behind each other."""
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([0, 1, 100_000, 3 << 20]))
    start = rng.randint(0, len(data))
    path = tmp_path / "file"
    path.write_bytes(data[:start])
    own = Hasher({"sha512"})
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        hasher = FollowingHasher({"sha256"}, file.fileno(), start, own)
        following = threading.Thread(target=hasher.follow)
        if seed % 2:
            following.start()
        while start < len(data):
            end = min(len(data), start + rng.choice([1000, 200_000, 1 << 20]))
            file.write(data[start:end])
            hasher.update(data[start:end])
            start = end
        if not seed % 2:
            following.start()
        following.join(30)
        assert hasher.digest("sha256") == hashlib.sha256(data).digest(), f"seed {seed}"


def test_a_hasher_that_is_stopped_lets_go() -> None:
    """A request that broke off does not hold the file for as long as hashing it takes."""
    with open("/dev/zero", "rb", buffering=0) as endless:
        hasher = FollowingHasher({"sha256"}, endless.fileno(), 1 << 60, Hasher(set()))
        following = threading.Thread(target=hasher.follow)
        following.start()
        hasher.stop()
        following.join(30)
        assert not following.is_alive()
