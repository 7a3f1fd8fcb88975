"""`python -m netcache`: the command line."""

if __name__ == "__main__":
    from importlib import import_module

    # By name, so that the library's layers stay below the command line's.
    import_module("netcache_cli._entry").main()
