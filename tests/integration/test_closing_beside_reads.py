"""A client that one thread closes while another one reads: its own bytes, or an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache.errors import ClosedError
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

DATA = random_bytes(1 << 20, 8)
READS: dict[str, Callable[[netcache.File], object]] = {
    "pread": lambda file: file.pread(4096, 8192),
    "preadv": lambda file: file.preadinto(bytearray(4096), 8192),
}


@pytest.mark.parametrize("call", READS)
def test_a_descriptor_that_is_closed_under_a_read_shows_no_other_file(
    served: Served,
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """Its number may be another file's by then, which was shown as this one's bytes."""
    other = tmp_path / "other"
    other.write_bytes(b"other" * len(DATA))
    client = new_client()
    url = served.put("data", DATA)
    client.warm(url)
    file = client.open(url)
    assert file.pread(4096, 0) == DATA[:4096]
    real = getattr(os, call)
    taken: list[int] = []

    def closed_meanwhile(fd: int, *rest: Any) -> Any:
        if not taken:
            taken.append(fd)
            client.close()
            opened = os.open(other, os.O_RDONLY)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
        return real(fd, *rest)

    monkeypatch.setattr(os, call, closed_meanwhile)
    with pytest.raises(ClosedError):
        READS[call](file)
    assert len(taken) == 1
    os.close(taken[0])
