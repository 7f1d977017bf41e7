"""An image's name taken apart: registry, repository, tag, digest."""

from __future__ import annotations

import re

import msgspec

from wherry.errors import ImageNameRefused

DOCKER_HUB = "docker.io"
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")


class Reference(msgspec.Struct, frozen=True):
    """`written` is the name as it was typed, without tag and digest; `host` and `path` are what it means."""

    written: str
    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Reference:
        """The parts of `text`. Raises ImageNameRefused."""
        rest, _, digest = text.partition("@")
        head, slash, _ = rest.partition("/")
        has_host = bool(slash) and ("." in head or ":" in head or head == "localhost")
        host = head if has_host else DOCKER_HUB
        path = rest[len(head) + 1 :] if has_host else rest
        path, _, tag = path.partition(":")
        written = f"{host}/{path}" if has_host else path
        if not REPOSITORY.fullmatch(path) or not HOST.fullmatch(host):
            better = re.sub(r"[^a-z0-9/._-]+", "-", path.lower()).strip("-")
            raise ImageNameRefused(text, "is no name of an image", f"{host}/{better}" if has_host else better)
        if (":" in rest[len(written) :] and not TAG.fullmatch(tag)) or ("@" in text and not DIGEST.fullmatch(digest)):
            raise ImageNameRefused(text, "ends in no tag or digest", f"{written}:1")
        if host in (DOCKER_HUB, "index.docker.io"):
            host, path = DOCKER_HUB, path if "/" in path else f"library/{path}"
        return Reference(written, host, path, tag, digest)

    def __str__(self) -> str:
        return self.written + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self, tag: str) -> Reference:
        """The same repository under `tag`, without a digest."""
        return msgspec.structs.replace(self, tag=tag, digest="")

    def pinned(self, digest: str) -> Reference:
        """The same repository by digest alone: not every builder takes a tag beside it."""
        return msgspec.structs.replace(self, tag="", digest=digest)
