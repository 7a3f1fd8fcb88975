"""The console script: signals, and a line instead of a traceback when click is missing."""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line on `sys.argv` and exit.

    Ctrl-C and SIGTERM end any command the same way: what runs is cancelled, nothing partial stays,
    exit code 130.
    """
    try:
        code = _run()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _run() -> int:
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from netcache_cli.main import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write(
            "netcache: the command line needs the package click, which is not installed "
            f"(install it with: {sys.executable} -m pip install click)\n"
        )
        return 1
    return run(sys.argv[1:])
