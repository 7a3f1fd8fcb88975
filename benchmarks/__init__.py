"""Benchmarks: each row measures netcache, the limit and a peer in one run, and prints ratios.

``python -m benchmarks [--size 1GiB] [--rounds 5] [--json FILE] [ROW ...]``

A ratio is the median over rounds of (time of netcache / time of the limit or peer), measured
alternately, so that a machine that is slow for a while is slow for both.

``python -m benchmarks.scale`` is about growth instead: with the number of objects, and with their
size.
"""
