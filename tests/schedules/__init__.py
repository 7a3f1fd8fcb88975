"""Permuted schedules of the engine: ``python -m tests.schedules --count 1000 --seed 1``."""
