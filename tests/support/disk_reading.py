"""Files that are read while the disk of the cache fails."""

from __future__ import annotations

from tests.support.disk_stage import (
    BLOCK,
    DATA,
    NEWER,
    OTHER,
    OTHER_URL,
    UP_URL,
    URL,
    Scenario,
    Stage,
    adding_to,
    cached,
    changed_at_server,
    half_cached,
    touched_at_server,
    unranged,
)

SCENARIOS: list[Scenario] = []
scenario = adding_to(SCENARIOS)


@scenario(open=False)
def begin_and_read(stage: Stage) -> None:
    """The client is made, and reads something cold."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def read_cold(stage: Stage) -> None:
    """In pieces, out of order, then all of it."""
    with stage.client.open(URL) as file:
        assert file.pread(100, 3 * BLOCK + 5) == DATA[3 * BLOCK + 5 :][:100]
        assert file.pread(2 * BLOCK, 0) == DATA[: 2 * BLOCK]
        assert file.read() == DATA


@scenario(half_cached)
def read_half(stage: Stage) -> None:
    """What is partly cached."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA
    with stage.client.open(URL) as file:
        assert file.pread(BLOCK, BLOCK) == DATA[BLOCK : 2 * BLOCK]


@scenario(cached)
def read_warm(stage: Stage) -> None:
    """What is cached, through several opens."""
    for _ in range(2):
        with stage.client.open(URL) as file:
            buffer = bytearray(BLOCK)
            assert file.preadinto(buffer, BLOCK) == BLOCK
            assert buffer == DATA[BLOCK : 2 * BLOCK]
            assert file.read() == DATA


@scenario(cached, verify="read", validate="always")
def read_with_every_check(stage: Stage) -> None:
    """Each read is checked at the server, and with the sums."""
    with stage.client.open(URL) as file:
        assert file.pread(BLOCK, 0) == DATA[:BLOCK]
        assert file.read() == DATA


@scenario(cached)
def view_warm(stage: Stage) -> None:
    """Views of what is cached, and of what is not."""
    with stage.client.open(URL) as file:
        assert bytes(file.view(0, len(DATA))) == DATA
    with stage.client.open(OTHER_URL) as file:
        assert bytes(file.view(5, 2 * BLOCK)) == OTHER[5 : 5 + 2 * BLOCK]


@scenario(cached, changed_at_server)
def read_changed(stage: Stage) -> None:
    """The cached version is not current any more: it is invalidated."""
    with stage.client.open(URL) as file:
        assert file.read() == NEWER


@scenario(cached, touched_at_server)
def read_touched(stage: Stage) -> None:
    """What is cached is compared with a digest, and goes over to the new version."""
    for _ in range(2):
        with stage.client.open(URL) as file:
            assert file.read() == DATA
        stage.server.store(URL, DATA)


@scenario(unranged)
def read_unranged(stage: Stage) -> None:
    """The whole in one response, into a private file."""
    for _ in range(2):
        with stage.client.open(UP_URL) as file:
            assert file.pread(BLOCK, BLOCK) == DATA[BLOCK : 2 * BLOCK]
            assert file.read() == DATA


@scenario(sync="commit")
def read_committed(stage: Stage) -> None:
    """Every fill is made durable at once."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def commit_in_background(stage: Stage) -> None:
    """What was filled is made durable a little later."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA
        store = stage.client._core.store
        assert store is not None
        with stage.about_cache():
            store.commit_pending()
        assert file.pread(len(DATA), 0) == DATA
