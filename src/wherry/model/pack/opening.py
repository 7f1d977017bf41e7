"""From a file to what is packed: by its content, and through the gate where it can run code."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wherry.model.pack.subject import Estimator, Subject
from wherry.model.reading import vouch


class Opened(msgspec.Struct, frozen=True):
    """What is packed, the digest of the file it came from, and what to say of how it came to be loaded."""

    subject: Subject
    sha256: str
    note: str = ""


def open_subject(path: Path, *, trust: bool | str = False, allow_drift: bool = False) -> Opened:
    """The model at `path`. Raises what wherry.model.reading.vouch raises."""
    opened = vouch.open_model(path, trust=trust, allow_drift=allow_drift)
    return Opened(Estimator(opened.estimator), opened.file.sha256, opened.sentence())
