"""`python -m wherry` is `wherry`."""

import sys

from wherry.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
