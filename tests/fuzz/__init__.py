"""Raw requests made to break the bundled server; ``python -m tests.fuzz`` for long runs."""
