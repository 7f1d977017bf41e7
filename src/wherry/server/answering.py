"""Answers questions about stored predictions, a line each, in a process of its own; ends when it is not asked for long.

The first line of its input is the store's url, each further one a query. To each it answers a line: + and a JSON array
of records, or - and why there are none.
"""

from __future__ import annotations

import os
import select
import signal
import sys

import msgspec

from wherry.errors import WherryError
from wherry.server.history import Query
from wherry.server.sinks import SinkAway
from wherry.server.sinks.reading import Reader

IDLE_SECONDS = 60.0


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)  # every millisecond on this machine is a caller's first
    source = os.fdopen(0, "rb", buffering=0)  # a buffer would hide from select what it has read ahead
    reader: Reader | None = None
    url = msgspec.json.decode(source.readline(), type=str)
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        line = source.readline()
        if not line:
            break
        try:
            reader = reader or Reader(url)
            answer = b"+" + msgspec.json.encode(reader.read(msgspec.json.decode(line, type=Query)))
        except (SinkAway, WherryError) as error:
            answer = b"-" + str(error).replace("\n", " ").encode()
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
