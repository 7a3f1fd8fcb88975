"""Write and check: ``python -m tests.wac --seconds 60 --seed 1``."""
