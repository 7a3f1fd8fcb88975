"""Files and trees that come down and go up while the disk of the cache fails."""

from __future__ import annotations

from tests.support.disk_stage import (
    DATA,
    OTHER,
    TREE_URL,
    UP_URL,
    URL,
    Scenario,
    Stage,
    adding_to,
    cached,
)

SCENARIOS: list[Scenario] = []
scenario = adding_to(SCENARIOS)


@scenario()
def get_cold(stage: Stage) -> None:
    """A download."""
    stage.client.get(URL, stage.home / "got")
    assert (stage.home / "got").read_bytes() == DATA


@scenario(cached)
def get_warm(stage: Stage) -> None:
    """A download of what is cached."""
    stage.client.get(URL, stage.home / "got")
    assert (stage.home / "got").read_bytes() == DATA


@scenario()
def get_tree(stage: Stage) -> None:
    """A tree comes down, and once more."""
    for name in ("one", "two/three"):
        stage.server.store(TREE_URL + name, OTHER)
    for _ in range(2):
        report = stage.client.sync(TREE_URL, stage.home / "tree")
        assert not report.errors, report.errors
    assert (stage.home / "tree/one").read_bytes() == OTHER
    assert (stage.home / "tree/two/three").read_bytes() == OTHER


@scenario()
def put_file(stage: Stage) -> None:
    """An upload of a file."""
    (stage.home / "source").write_bytes(DATA)
    stage.client.put(stage.home / "source", UP_URL)
    assert stage.at_server(UP_URL) == DATA
    with stage.client.open(UP_URL) as file:
        assert file.read() == DATA


@scenario()
def put_tree(stage: Stage) -> None:
    """A tree goes up."""
    folder = stage.home / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "a").write_bytes(DATA)
    (folder / "below/b").write_bytes(OTHER)
    report = stage.client.sync(folder, TREE_URL)
    assert not report.errors, report.errors
    assert stage.at_server(TREE_URL + "a") == DATA
    assert stage.at_server(TREE_URL + "below/b") == OTHER


@scenario()
def stream_up(stage: Stage) -> None:
    """``wb``, in one piece at the close."""
    with stage.client.open(UP_URL, "wb") as file:
        for start in range(0, len(DATA), 5000):
            file.write(DATA[start : start + 5000])
    assert stage.at_server(UP_URL) == DATA
    with stage.client.open(UP_URL) as reader:
        assert reader.read() == DATA
