"""`python -m cli` in a checkout, installed or not."""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    sys.path[:0] = [_HERE, os.path.join(os.path.dirname(_HERE), "server")]
    from netcache_cli._entry import main

    main()
