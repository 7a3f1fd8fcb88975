"""Where options come from: flags on both sides of the verb, environment, config file, default."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from netcache_cli.session import Session
from netcache_cli.shared_options import SHARED_NAMES, Invocation, Settings
from netcache_cli.values import EntityTag, Header
from netcache_cli.verb import LazyGroup, Verb, argument, option, verb

Given = Callable[..., tuple[Settings, dict[str, object]]]

SEEN: list[tuple[Settings, dict[str, object]]] = []


@verb("show")
@argument("word", required=False)
@option("--if-match")
@option("-r", "--recursive", is_flag=True)
@option("--hard", is_flag=True, typed_only=True)
def show(session: Session, **values: object) -> int | None:
    """Keep what was given."""
    SEEN.append((session.settings, values))
    return None


ROOT = LazyGroup("netcache", homes={"show": f"{__name__}:show"})


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Runs `show` with arguments, a config file and an environment; returns what it was given."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run(
        *args: str, config: str | None = None, **environ: str
    ) -> tuple[Settings, dict[str, object]]:
        if config is not None:
            (tmp_path / "netcache").mkdir(exist_ok=True)
            (tmp_path / "netcache" / "config.toml").write_text(config)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        ROOT.main(list(args), standalone_mode=False, obj=Invocation())
        return SEEN.pop()

    return run


def test_nothing_given_means_the_defaults(given: Given) -> None:
    """No flag, no variable, no file."""
    assert given("show") == (
        Settings(),
        {"word": None, "if_match": None, "recursive": False, "hard": False},
    )


ALL_FLAGS = {
    "--cache-dir=/c": {"cache_dir": "/c"},
    "--cache-size=1.5GiB": {"cache_size": 3 << 29},
    "--no-cache": {"no_cache": True},
    "--offline": {"offline": True},
    "--validate=5m": {"validate": 300.0},
    "--validate=never": {"validate": "never"},
    "--timeout=1h": {"timeout": 3600.0},
    "--retries=0": {"retries": 0},
    "--transfers=9": {"transfers": 9},
    "--processes=2": {"processes": 2},
    "--bwlimit=10M/s": {"bwlimit": 10 << 20},
    "--header=X-A: b: c": {"header": (("X-A", "b: c"),)},
    "--user=u:p:q": {"user": "u:p:q"},
    "--token=t": {"token": "t"},
    "--netrc": {"netrc": True},
    "--ca-cert=/x.pem": {"ca_cert": "/x.pem"},
    "--insecure": {"insecure": True},
    "--json": {"json": True},
    "-v": {"verbose": 1},
    "-vv": {"verbose": 2},
    "--verbose": {"verbose": 1},
    "-q": {"quiet": True},
}


@pytest.mark.parametrize("flag", ALL_FLAGS)
def test_global_options_work_before_and_after_the_verb(given: Given, flag: str) -> None:
    """The same value from either side, and after the verb's argument too."""
    wanted = Settings(**ALL_FLAGS[flag])  # type: ignore[arg-type]
    assert given(flag, "show")[0] == wanted
    assert given("show", flag)[0] == wanted
    assert given("show", "word", flag)[0] == wanted


def test_the_flag_after_the_verb_wins(given: Given) -> None:
    """It stands closer to what it is about."""
    assert given("--timeout=1", "show", "--timeout=2")[0].timeout == 2


def test_headers_and_verbosity_add_up(given: Given) -> None:
    """What can be repeated can be repeated on both sides."""
    settings, _ = given("-v", "--header", "A: 1", "show", "-v", "--header", "B: 2")
    assert settings.header == (("A", "1"), ("B", "2"))
    assert settings.verbose == 2


def test_flag_over_environment_over_file_over_default(given: Given) -> None:
    """Each place is overruled by the one before it."""
    config = "timeout = 3\nretries = 5\ntransfers = 6"
    settings, _ = given(
        "show", "--timeout=1", config=config, NETCACHE_TIMEOUT="2", NETCACHE_RETRIES="7"
    )
    assert (settings.timeout, settings.retries, settings.transfers) == (1, 7, 6)
    assert settings.bwlimit is None


def test_the_config_file_takes_every_option(given: Given) -> None:
    """Keys are the flags' names with `_`; flags without a value are true."""
    config = """
        cache_dir = "/c"
        cache_size = "10GiB"
        no_cache = true
        offline = false
        validate = "5m"
        timeout = "30s"
        retries = 2
        transfers = 3
        processes = 1
        bwlimit = 1000
        header = ["A: 1", "B: 2"]
        user = "u:p"
        token = "t"
        netrc = true
        ca_cert = "/x.pem"
        insecure = true
        json = true
        verbose = 1
        quiet = true
        if_match = "red"
        recursive = true
    """
    settings, values = given("show", config=config)
    assert settings == Settings(
        cache_dir="/c",
        cache_size=10 << 30,
        no_cache=True,
        validate=300.0,
        timeout=30.0,
        retries=2,
        transfers=3,
        processes=1,
        bwlimit=1000,
        header=(("A", "1"), ("B", "2")),
        user="u:p",
        token="t",
        netrc=True,
        ca_cert="/x.pem",
        insecure=True,
        json=True,
        verbose=1,
        quiet=True,
    )
    assert (values["if_match"], values["recursive"]) == ("red", True)


def test_the_environment_takes_every_option(given: Given) -> None:
    """`NETCACHE_<OPTION>`; headers a line each; an empty variable is none."""
    settings, values = given(
        "show",
        NETCACHE_CACHE_SIZE="1M",
        NETCACHE_OFFLINE="1",
        NETCACHE_INSECURE="0",
        NETCACHE_HEADER="A: 1 2\nB: 2",
        NETCACHE_VERBOSE="2",
        NETCACHE_TOKEN="",
        NETCACHE_IF_MATCH="red",
        NETCACHE_RECURSIVE="1",
        NETCACHE_SOMETHING_ELSE="is not ours",
    )
    assert settings == Settings(
        cache_size=1 << 20, offline=True, header=(("A", "1 2"), ("B", "2")), verbose=2
    )
    assert (values["if_match"], values["recursive"]) == ("red", True)


def test_what_destroys_must_be_typed(given: Given) -> None:
    """A `typed_only` option comes neither from the environment nor from the file."""
    with pytest.raises(click.UsageError, match="there is no option 'hard'"):
        given("show", config="hard = true")
    assert given("show", config="", NETCACHE_HARD="1")[1]["hard"] is False


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (
            "cache_sise = 1",
            r"config.toml: there is no option 'cache_sise' \(did you mean 'cache_size'\?\)",
        ),
        ("wholly-unknown-thing = 1", "there is no option 'wholly-unknown-thing'"),
        ("timeout = 'soon'", "config.toml: timeout: 'soon' is not a duration"),
        ("timeout = true", "config.toml: timeout: True is not a single value"),
        ("retries = 101", "config.toml: retries: 101 is not in the range"),
        ("offline = 'perhaps'", "config.toml: offline: 'perhaps' is not a valid boolean"),
        ("header = ['nonsense']", "'nonsense' is not a header"),
        ("verbose = 'much'", "verbose: 'much' is not a number"),
        ("timeout = = 1", "config.toml is not a TOML file"),
        ("[sync]\ndelete = true", "there is no option 'sync'"),
    ],
)
def test_a_bad_config_file_is_told_exactly(given: Given, config: str, complaint: str) -> None:
    """File, key and what is wrong with it."""
    with pytest.raises(click.UsageError, match=complaint):
        given("show", config=config)


def test_a_bad_variable_is_told_by_its_name(given: Given) -> None:
    """The environment is not seen; the message must name it."""
    with pytest.raises(click.UsageError, match="NETCACHE_BWLIMIT: '0' is no rate to work with"):
        given("show", NETCACHE_BWLIMIT="0")


@pytest.mark.parametrize(
    "flag",
    [
        "--timeout=0",
        "--timeout=-1",
        "--retries=-1",
        "--retries=101",
        "--transfers=0",
        "--transfers=65",
        "--processes=0",
        "--cache-size=big",
        "--bwlimit=0",
        "--validate=sometimes",
        "--header=nocolon",
        "--header=: empty",
        "--cache-dir=",
    ],
)
def test_values_out_of_range_are_refused(given: Given, flag: str) -> None:
    """Before anything is done."""
    with pytest.raises(click.UsageError):
        given("show", flag)


def test_a_header_cannot_smuggle_lines() -> None:
    """A value with a line break would be a second header."""
    with pytest.raises(click.BadParameter, match="is not a header"):
        Header().convert("A: b\r\nC: d", None, None)


def test_the_help_has_the_global_options_in_a_section_of_their_own() -> None:
    """Each once, after the verb's own."""
    text = CliRunner().invoke(ROOT, ["show", "--help"]).output
    own, _, shared = text.partition("Global options:")
    assert "--if-match" in own
    assert "--recursive" in own
    for name in SHARED_NAMES:
        assert text.count(f"--{name.replace('_', '-')} ") == 1
        assert f"--{name.replace('_', '-')} " in shared


def test_every_verb_loads_and_has_the_global_options() -> None:
    """All homes exist, and no option is declared twice."""
    from netcache_cli.main import cli

    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.homes]
    group = cli.get_command(context, "cache")
    assert isinstance(group, LazyGroup)
    commands += [group.get_command(context, name) for name in group.homes]
    for command in commands:
        assert command is not None
        names = [param.name for param in command.params]
        assert set(names) >= SHARED_NAMES
        assert len(names) == len(set(names))
        flags = [flag for param in command.params for flag in param.opts if flag.startswith("-")]
        assert len(flags) == len(set(flags))
        assert isinstance(command, Verb | LazyGroup)


def test_a_command_leaves_the_loggers_as_they_were(given: Given, tmp_path: Path) -> None:
    """One process may run several commands: the next one is as quiet as it asked to be."""
    loggers = [logging.getLogger(name) for name in ("netcache", "netcache_server", "aiohttp")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    given("-vv", "show")
    given(f"--log-file={tmp_path / 'log'}", "show")
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before


@pytest.mark.parametrize(
    ("given", "meant"),
    [("v1", '"v1"'), ('"v1"', '"v1"'), ('""', '""'), ("*", "*"), ("a,b", '"a,b"'), ('"*"', '"*"')],
)
def test_entity_tags(given: str, meant: str) -> None:
    """With or without quotes."""
    assert EntityTag().convert(given, None, None) == meant


@pytest.mark.parametrize(
    "given", ["", '"', 'a"', '"a', '"a", "b"', "a b", "a\n", "ä", 'W/"a"', "W/a"]
)
def test_what_is_no_entity_tag(given: str) -> None:
    """It would never hold, or could not be sent."""
    with pytest.raises(click.BadParameter):
        EntityTag().convert(given, None, None)
