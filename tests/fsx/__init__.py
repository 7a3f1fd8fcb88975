"""A random tester of edited files, in the way of fsx: see ``exerciser``."""
