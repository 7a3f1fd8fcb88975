"""After every test: its clients are closed, and nothing of theirs is left over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netcache._client.core import ClientCore
from netcache._core.stats import Stats


def check_idle(stats: Stats) -> None:
    """No request, exchange or buffer is alive, and every exchange that began has ended."""
    groups = stats.as_groups()
    assert groups["Objs"] == dict.fromkeys(groups["Objs"], 0), groups["Objs"]
    for group, begun, ended in (("DownOps", "DL", "ds"), ("UpldOps", "UL", "us")):
        assert groups[group][begun] == groups[group][ended], group
    assert groups["CaRdOps"]["RD"] == groups["CaRdOps"]["rs"]
    assert groups["CaWrOps"]["WR"] == groups["CaWrOps"]["ws"] + groups["CaWrOps"]["wf"]


@pytest.fixture(autouse=True)
def nothing_is_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watches every client that the test makes; set up first, so it looks last."""
    cores: list[ClientCore] = []
    make = ClientCore.__init__

    def watched(core: ClientCore, *args: object, **options: object) -> None:
        make(core, *args, **options)  # type: ignore[arg-type]
        cores.append(core)

    monkeypatch.setattr(ClientCore, "__init__", watched)
    yield
    for core in cores:
        assert core.closed, "a test closes its clients"
        check_idle(core.stats)
