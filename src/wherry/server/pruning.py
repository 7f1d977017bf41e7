"""`python3 -m wherry.server.pruning`: removes old predictions, as [store] keep_days, keep_rows and keep_bytes say.

For scheduled work in an image, where the command line is not; the environment is its only configuration.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from wherry.errors import StoreUnreachable, UsageRefused, WherryError
from wherry.server.__main__ import say
from wherry.server.destination import destination
from wherry.server.environment import project_of
from wherry.server.history import kept_of


def prune(environ: Mapping[str, str], bundle: Path) -> tuple[int, str]:
    """How many predictions were removed, and from where. Raises UsageRefused where nothing says what is old."""
    store = project_of(environ, bundle).project.store
    keep = kept_of(store)
    if not keep:
        raise UsageRefused("nothing says what is old", hint="[store] keep_days = 90")
    target = destination(msgspec.structs.replace(store, enabled=None), environ, Path(tempfile.gettempdir()), desk=False)
    if target is None:
        raise UsageRefused("no predictions are stored", hint='[store] url = "postgresql://USER@HOST/DATABASE"')
    from wherry.server.sinks import Sink, SinkAway
    from wherry.server.sinks.retention import Retention

    try:
        with contextlib.closing(Sink(target.url)) as sink:
            retention = Retention(sink)
            bound = retention.bound(keep)
            return (sum(retention.prune(bound)) if bound else 0), target.shown
    except SinkAway as error:
        raise StoreUnreachable(target.shown, str(error)) from error


def main() -> int:
    try:
        gone, where = prune(os.environ, Path(os.environ.get("WHERRY_BUNDLE") or "bundle"))
    except WherryError as error:
        say(f"error: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return 2 if isinstance(error, UsageRefused) else 1
    say(f"{gone:,} {'prediction' if gone == 1 else 'predictions'} removed from {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
