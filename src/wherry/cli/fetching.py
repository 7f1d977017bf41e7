"""`wherry.fetch`: what training scripts call for data that lies elsewhere."""

from __future__ import annotations

from pathlib import Path

from wherry.cli.console import Console
from wherry.errors import CallFailed
from wherry.model.download import download


def fetch(url: str, *, sha256: str, to: str | Path) -> Path:
    """The file `to`, whose digest is `sha256`: used as it is where it is there, else downloaded from `url`.

    Shows its progress on a terminal. Raises DownloadFailed, DownloadWrong, each with what to do as a note.
    """
    with Console() as console:
        try:
            return download(url, sha256, Path(to), tell=console.tell)
        except CallFailed as error:
            error.add_note(f"hint: {error.hint}")
            raise
