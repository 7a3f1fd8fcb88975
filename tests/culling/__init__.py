"""Processes on one cache with a limit, which is never exceeded: ``python -m tests.culling``."""
