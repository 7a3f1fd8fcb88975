"""The command line of netcache.

What it owns: options and where they come from, what is printed where, exit codes, progress bars.
All work is done by `netcache.Client`.

Rules:

1. Results go to stdout, everything else to stderr; an error is one line there.
2. Nothing is imported before it is needed: a cached `cat` costs little more than importing click.
"""
