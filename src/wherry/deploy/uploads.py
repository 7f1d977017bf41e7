"""An image pushed blob by blob: only what the registry lacks, taken over from a neighbour where it can be."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from wherry.contract.events import Progress, Tell, silent
from wherry.deploy import caches
from wherry.deploy.bases import Blob
from wherry.deploy.endpoints import endpoints
from wherry.deploy.session import Session, patiently
from wherry.errors import RegistryFailed, RegistryRefused, RegistryUntrusted
from wherry.release.reference import Reference

CHUNK = 1 << 18
AGAIN = "run the same command again: what has arrived is not sent again"


class Part(msgspec.Struct, frozen=True):
    """A blob to push. file: where it lies, or can be made to lie; home: the repository that has it, if any."""

    blob: Blob
    file: Callable[[], Path]
    home: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What a push came to: the manifest's digest, the bytes that were sent, what was there and what was taken over."""

    digest: str
    sent: int
    held: int
    mounted: int


class Upload(msgspec.Struct, frozen=True):
    """An upload that may have been cut: where it goes on."""

    location: str


def push(reference: Reference, parts: list[Part], manifest: bytes, media: str, tell: Tell = silent) -> Sent:
    """Push the blobs that the registry does not have, then the manifest under the reference's tag.

    Raises RegistryFailed, RegistryRefused; nothing carries the tag before all that it names is there.
    """
    neighbours = tuple(dict.fromkeys(part.home for part in parts if part.home and part.home != reference.path))
    session = Session(endpoints(reference)[-1], push=True, also=neighbours)
    sent, ends = 0, {"held": 0, "mounted": 0, "sent": 0}
    for part in parts:
        try:
            end = Pushing(session, reference, part, tell).run()
        except (RegistryRefused, RegistryUntrusted):
            raise
        except RegistryFailed as trouble:
            trouble.hint = AGAIN
            raise
        ends[end] += 1
        sent += part.blob.size if end == "sent" else 0
        caches.remember("homes", key(reference.host, part.blob.digest), reference.path)
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    answer = patiently(
        partial(session.ask, "PUT", f"manifests/{reference.tag}", {"Content-Type": media}, lambda: manifest)
    )
    if answer.status not in (200, 201, 202):
        raise session.refused("PUT", answer)
    return Sent(digest, sent + len(manifest), ends["held"], ends["mounted"])


def home_of(host: str, digest: str) -> str:
    """The repository of this registry that was seen to hold the blob; empty when none was."""
    found: str | None = caches.recall("homes", key(host, digest), str)
    return found or ""


def key(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


class Pushing:
    """One blob on its way."""

    def __init__(self, session: Session, reference: Reference, part: Part, tell: Tell) -> None:
        self.session, self.part, self.tell = session, part, tell
        self.key = key(reference.host, reference.path, part.blob.digest)
        self.neighbour = part.home if part.home != reference.path else ""

    def run(self) -> str:
        """held, mounted or sent: how the blob came to be there. Raises RegistryFailed, RegistryRefused."""
        blob = self.part.blob
        there = patiently(partial(self.session.ask, "HEAD", f"blobs/{blob.digest}"))
        if there.status == 200:
            return "held"
        if self.neighbour and patiently(self.mount):
            return "mounted"
        patiently(self.send)
        caches.note("uploads", self.key).unlink(missing_ok=True)
        return "sent"

    def mount(self) -> bool:
        """Whether the registry took the blob over from its neighbour; if not, an upload has begun."""
        words = urllib.parse.urlencode({"mount": self.part.blob.digest, "from": self.neighbour})
        answer = self.session.ask("POST", f"blobs/uploads/?{words}", body=lambda: b"")
        if answer.status == 201:
            return True
        if answer.status == 202:
            self.keep(answer.headers.get("Location", ""))
        return False

    def send(self) -> None:
        """Send what the registry has not got yet of the upload under way, or all of it in a new one."""
        location, offset = self.under_way()
        if not location:
            answer = self.session.ask("POST", "blobs/uploads/", body=lambda: b"")
            if answer.status != 202:
                raise self.session.refused("POST", answer)
            location, offset = self.keep(answer.headers.get("Location", "")), 0
        size = self.part.blob.size
        if offset < size:
            headers = {"Content-Length": str(size - offset)}
            if offset:
                headers["Content-Range"] = f"{offset}-{size - 1}"
            answer = self.session.ask("PATCH", location, headers, lambda: self.chunks(offset))
            if answer.status not in (201, 202, 204):
                self.forget()
                raise self.session.refused("PATCH", answer)
            location = self.keep(answer.headers.get("Location", "") or location)
        joint = "&" if "?" in location else "?"
        digest = urllib.parse.quote(self.part.blob.digest)
        answer = self.session.ask("PUT", f"{location}{joint}digest={digest}", body=lambda: b"")
        if answer.status not in (201, 204):
            self.forget()
            raise self.session.refused("PUT", answer)

    def under_way(self) -> tuple[str, int]:
        """Where an upload that was cut goes on, and how much of it has arrived; nowhere when the registry forgot it."""
        known: Upload | None = caches.recall("uploads", self.key, Upload)
        if known is None:
            return "", 0
        try:
            answer = self.session.ask("GET", known.location)
        except RegistryRefused:
            answer = None
        arrived = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", "")) if answer else None
        if answer is None or answer.status != 204:
            self.forget()
            return "", 0
        location = self.keep(answer.headers.get("Location", "") or known.location)
        # Nothing and one byte are both 0-0: one byte is not worth a doubt.
        offset = int(arrived[1]) + 1 if arrived and arrived[1] != "0" else 0
        return location, min(offset, self.part.blob.size)

    def keep(self, location: str) -> str:
        """The location as a URL, written down so that a later push can go on there."""
        url = urllib.parse.urljoin(self.session.home, location)
        caches.remember("uploads", self.key, Upload(url))
        return url

    def forget(self) -> None:
        caches.note("uploads", self.key).unlink(missing_ok=True)

    def chunks(self, offset: int) -> Iterator[bytes]:
        """The blob's bytes from `offset` on, told as they go."""
        blob = self.part.blob
        with self.part.file().open("rb") as file:
            file.seek(offset)
            done = offset
            while chunk := file.read(CHUNK):
                yield chunk
                done += len(chunk)
                self.tell(Progress("pushing", done, blob.size, "bytes"))
