"""Digest fields as values (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib

import pytest

from netcache_server.digest import (
    BadDigestError,
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
