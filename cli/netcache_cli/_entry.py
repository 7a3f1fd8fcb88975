"""The console script: signals, the way out, and a line instead of a traceback without click.

Start-up counts here: a cached `cat` is to cost little more than importing click.  So the garbage
collector keeps out of the way of the imports, and the process ends without Python taking itself
apart (each a few milliseconds of some fifty).
"""

import gc
import os
import sys

EXIT_INTERRUPTED = 130

_GC_THRESHOLD = 100_000


def main() -> None:
    """Run the command line on `sys.argv` and end the process.

    Ctrl-C and SIGTERM end any command the same way: what runs is cancelled, nothing partial stays,
    exit code 130.
    """
    gc.set_threshold(_GC_THRESHOLD)
    try:
        code = _run()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    _leave(code)


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


def _leave(code: int) -> None:
    """Everything of ours is closed by now: only what is buffered has to go."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or 1
    os._exit(code)
