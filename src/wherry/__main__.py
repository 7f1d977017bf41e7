"""`python -m wherry` is `wherry`, and this is where both begin."""

import sys


def run() -> int:
    """Carry out the command line. Ctrl-C ends it quietly with 130 even while what it needs is still being loaded."""
    import os
    import signal

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever started it wants none of it
    if ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has begun, and so nothing is to be ended
    from wherry.cli.main import run as carry_out

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return carry_out()


if __name__ == "__main__":
    sys.exit(run())
