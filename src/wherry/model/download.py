"""Data from elsewhere: a file with the digest that is expected, or none."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from wherry.contract.events import Progress, Tell, silent
from wherry.errors import DownloadFailed, DownloadWrong

SECONDS = 30.0  # without a byte
CHUNK = 1 << 18
TELL_SECONDS = 0.2


def download(url: str, sha256: str, to: Path, *, tell: Tell = silent) -> Path:
    """`to`, holding the bytes with this digest: as they lie there already, else from `url`, whole or not at all.

    Raises DownloadFailed where nobody sends it, DownloadWrong where something else is sent; `to` is as it was then.
    """
    if to.is_file() and digest_of(to) == sha256:
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink:
            found = received(url, to, sink, tell)
        if found != sha256:
            raise DownloadWrong(url, sha256, found)
        part.chmod(0o644)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return to


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def received(url: str, to: Path, sink: IO[bytes], tell: Tell) -> str:
    """The digest of what was sent, which is in `sink` then."""
    digest = hashlib.sha256()
    for chunk in sent(url, to, tell):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


def sent(url: str, to: Path, tell: Tell) -> Iterator[bytes]:
    """What `url` sends, with its progress told. Raises DownloadFailed."""
    if urlsplit(url).scheme not in ("https", "http", "file"):
        raise DownloadFailed(url, str(to), "is no https:// address")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:
            total, done, told = int(reply.headers.get("Content-Length") or 0), 0, time.monotonic()
            while chunk := reply.read(CHUNK):
                done += len(chunk)
                yield chunk
                if time.monotonic() - told > TELL_SECONDS or done == total:
                    told = time.monotonic()
                    tell(Progress(f"downloading {to.name}", done, total, "bytes"))
            if done < total:
                raise DownloadFailed(url, str(to), f"the connection ended after {done:,} of {total:,} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadFailed(url, str(to), f"{error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadFailed(url, str(to), str(reason) or type(error).__name__) from error
