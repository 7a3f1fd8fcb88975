"""Wiring: the only package that knows the concrete store, backend and engine together."""
