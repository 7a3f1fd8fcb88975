"""Backends: implementations of the port ``netcache.spi.Backend``.  None knows of the cache."""
