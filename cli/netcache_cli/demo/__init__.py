"""`netcache demo`: the whole story on loopback, in under a minute, with figures just measured.

Every step is done by the real command line against the real server, and every claim is checked
against the server's own request log or against the bytes.  A check that fails is told, and the exit
code is then 1.  Nothing outside a temporary folder is touched.
"""
