"""Crews: other processes that fetch small files of a tree for this one."""
