"""`wherry status --watch`: deployed services as they go on, in the terminal, as JSON, or as a page on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wherry.cli import board
from wherry.cli.console import Console, coloured
from wherry.cli.drawing import Drawing

if TYPE_CHECKING:
    from wherry.deploy.cluster import Cluster
    from wherry.deploy.dashboard.seen import Look
    from wherry.deploy.dashboard.watcher import Watcher

WATCH_SECONDS = 2.0


def watch(console: Console, cluster: Cluster, name: str) -> None:
    """Show each look until Ctrl-C, which is how it ends well."""
    from wherry.deploy.dashboard.watcher import Watcher

    with Watcher(cluster, name) as watcher:
        if console.as_json:
            repeat(watcher, console.document)
        elif coloured(sys.stdout):
            console.close()
            drawing = Drawing(sys.stdout)
            repeat(watcher, lambda look: draw(drawing, look, watcher))
        else:
            repeat(watcher, lambda look: tell(console, look))


def show_page(console: Console, cluster: Cluster, name: str, *, port: int, open_it: bool) -> None:
    """Serve the page to this machine's own browsers until Ctrl-C. Raises PortTaken."""
    from wherry.deploy.dashboard.site import serving
    from wherry.deploy.dashboard.watcher import Watcher

    with Watcher(cluster, name) as watcher:
        first = watcher.look()
        with serving(port) as site:
            site.show(first, watcher.courses)
            if console.as_json:
                console.document({"url": site.url})
            else:
                console.say(site.url)
                sys.stdout.flush()
                console.note("for this machine alone, until Ctrl-C; who has the address may look")
            if open_it:
                browse(site.url)
            repeat(watcher, lambda look: site.show(look, watcher.courses))


def repeat(watcher: Watcher, show: Callable[[Look], None]) -> None:
    """A look every two seconds, each shown, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            due = time.monotonic() + WATCH_SECONDS
            show(watcher.look())
            time.sleep(max(0.0, due - time.monotonic()))


def draw(drawing: Drawing, look: Look, watcher: Watcher) -> None:
    size = shutil.get_terminal_size((80, 24))
    drawing.draw(board.picture(look, watcher.courses), size.columns, size.lines)


def tell(console: Console, look: Look) -> None:
    console.say_all(board.plain(look))
    sys.stdout.flush()  # somebody may be following


def browse(url: str) -> None:
    """Open the page; a browser's own words stay off the terminal."""
    import webbrowser

    null = os.open(os.devnull, os.O_WRONLY)
    kept = os.dup(2)
    try:
        os.dup2(null, 2)
        webbrowser.open(url)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
