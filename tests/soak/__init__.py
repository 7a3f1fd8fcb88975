"""Long runs that nothing may go wrong in: ``python -m tests.soak.culling``."""
