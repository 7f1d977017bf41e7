"""A registry in the process that can be made to fail: what no real one does when it is asked to."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OCI = "application/vnd.oci.image"
CHUNK = 1 << 14
GZIP = b"\x1f\x8b"
WAITS = 60.0


class SmallRegistry:
    """What it holds, what it was asked, and how it is to fail."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.received = 0
        self.address = ""
        self.cut_after = 0  # bytes of one upload after which the connection is closed, once
        self.pause_after = 0  # bytes of one upload after which no more is read until `going`, once
        self.paused, self.going = threading.Event(), threading.Event()
        self.receiving = 0  # uploads under way
        self.holds_layers = False  # whether a layer that is asked for waits for `going`
        self.forgets = False  # whether a cut upload is forgotten
        self.failing = 0  # so many requests are answered with 503
        self.refused: dict[str, tuple[int, str]] = {}  # by method: status and message
        self.basic = ""  # the credentials that are asked for
        self.strict_repositories = False
        self.referrers = False  # whether it lists by itself what refers to a manifest
        self.forbids_referrers = False
        self.takes_artifacts = True

    def hold(self, repository: str, content: bytes) -> dict[str, Any]:
        """Put a blob there; its description."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[repository, digest] = content
        return {"digest": digest, "size": len(content)}

    def tag(self, repository: str, tag: str, document: dict[str, Any]) -> str:
        """Put a manifest there; its digest."""
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name in (tag, digest):
            self.manifests[repository, name] = (document["mediaType"], content)
        return digest

    def base(
        self,
        repository: str = "library/base",
        *,
        architecture: str = "amd64",
        python: str = HERE,
        files: tuple[str, ...] = (),
        **config: Any,
    ) -> str:
        """An image of one small layer with a setuid file, pip and these files; its manifest's digest."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            plain = [(name, 0o644) for name in ("usr/lib/pip/__init__.py", *files)]
            for name, mode in (("usr/bin/passwd", 0o4755), *plain):
                info = tarfile.TarInfo(name)
                info.mode = mode
                archive.addfile(info, io.BytesIO())
        layer = self.hold(repository, gzip.compress(packed.getvalue(), mtime=0))
        environ = ["PATH=/usr/local/bin:/usr/bin", *([f"PYTHON_VERSION={python}"] if python else [])]
        text = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": environ, "Cmd": ["python3"], "Labels": {"of": "base"}, **config},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
        }
        made = self.hold(repository, json.dumps(text).encode())
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", **made},
            "layers": [{"mediaType": f"{OCI}.layer.v1.tar+gzip", **layer}],
        }
        return self.tag(repository, "1", document)

    def sent(self, method: str) -> int:
        """How many requests of this method came."""
        return sum(line.startswith(f"{method} ") for line in self.asked)


class Answering(BaseHTTPRequestHandler):
    """The part of the distribution API that pushing and pulling takes."""

    protocol_version = "HTTP/1.1"
    held: ClassVar[SmallRegistry]

    def handle_any(self) -> None:
        held, method = self.held, self.command
        url = urlsplit(self.path)
        held.asked.append(f"{method} {self.path}")
        body = b"" if method == "PATCH" else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if held.basic and self.headers.get("Authorization") != f"Basic {held.basic}":
            self.close_connection = True
            return self.reply(401, b"{}", {"WWW-Authenticate": 'Basic realm="small"'})
        if held.failing:
            held.failing -= 1
            self.close_connection = True
            return self.reply(503, b"{}")
        if method in held.refused:
            self.rfile.read(int(self.headers.get("Content-Length") or 0) if method == "PATCH" else 0)
            status, message = held.refused[method]
            return self.reply(status, json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode())
        if found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", url.path):
            return self.manifest(found[1], found[2], body)
        if "/referrers/" in url.path and held.forbids_referrers:
            return self.reply(403, b"{}")
        if (found := re.fullmatch(r"/v2/(.+)/referrers/(.+)", url.path)) and held.referrers:
            return self.referring(found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/blobs/(sha256:.+)", url.path):
            content = held.blobs.get((found[1], found[2]))
            if held.holds_layers and method == "GET" and (content or b"").startswith(GZIP):
                held.paused.set()
                held.going.wait(WAITS)
            return self.reply(404 if content is None else 200, content or b"{}")
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", url.path):
            return self.upload(found[1], found[2], {name: value[0] for name, value in parse_qs(url.query).items()})
        return self.reply(404, b"{}")

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = handle_any

    def manifest(self, repository: str, name: str, body: bytes) -> None:
        if self.command == "PUT":
            document = json.loads(body)
            for blob in (document["config"], *document["layers"]) if "config" in document else ():
                assert (repository, blob["digest"]) in self.held.blobs, "a manifest came before its blobs"
            for entry in document.get("manifests", ()):
                assert (repository, entry["digest"]) in self.held.manifests, "a list came before what it lists"
            if "artifactType" in document and not self.held.takes_artifacts:
                return self.reply(400, b'{"errors": [{"code": "MANIFEST_INVALID", "message": "unknown artifact"}]}')
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for key in (name, digest):
                self.held.manifests[repository, key] = (self.headers["Content-Type"], body)
            return self.reply(201, b"")
        media, content = self.held.manifests.get((repository, name), ("", b"{}"))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return self.reply(200 if media else 404, content, {"Content-Type": media, "Docker-Content-Digest": digest})

    def referring(self, repository: str, digest: str) -> None:
        """The list of what names this digest as its subject."""
        found = {}
        for (where, name), (media, content) in self.held.manifests.items():
            document = json.loads(content)
            if (
                where == repository
                and name.startswith("sha256:")
                and document.get("subject", {}).get("digest") == digest
            ):
                kind = document["artifactType"]
                found[name] = {"mediaType": media, "digest": name, "size": len(content), "artifactType": kind}
        listed = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(found.values())}
        return self.reply(200, json.dumps(listed).encode(), {"Content-Type": listed["mediaType"]})

    def upload(self, repository: str, name: str, query: dict[str, str]) -> None:
        held = self.held
        if self.command == "POST":
            content = held.blobs.get((query.get("from", ""), query.get("mount", "")))
            if content is not None:
                held.blobs[repository, query["mount"]] = content
                return self.reply(201, b"")
            if held.strict_repositories:
                return self.reply(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}')
            name = uuid.uuid4().hex
            held.uploads[name] = b""
            return self.reply(202, b"", self.place(repository, name))
        if name not in held.uploads:
            self.close_connection = True
            return self.reply(404, b"{}")
        if self.command == "GET":
            return self.reply(204, b"", self.place(repository, name))
        if self.command == "PATCH":
            return self.patch(repository, name)
        content = held.uploads.pop(name)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != query["digest"]:
            return self.reply(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "digest differs"}]}')
        held.blobs[repository, digest] = content
        return self.reply(201, b"")

    def patch(self, repository: str, name: str) -> None:
        held = self.held
        start = int((self.headers.get("Content-Range") or "0-").split("-")[0])
        assert start == len(held.uploads[name]), "an upload went on at the wrong place"
        left = int(self.headers["Content-Length"])
        held.receiving += 1
        try:
            whole = self.read_on(name, left)
        finally:
            held.receiving -= 1
        if whole:
            self.reply(202, b"", self.place(repository, name))
        else:
            self.close_connection = True

    def read_on(self, name: str, left: int) -> bool:
        """Take what comes of an upload; whether all of it came."""
        held = self.held
        while left:
            chunk = self.rfile.read(min(CHUNK, left))
            if not chunk:
                return False
            left -= len(chunk)
            held.received += len(chunk)
            held.uploads[name] += chunk
            if held.cut_after and len(held.uploads[name]) >= held.cut_after:
                held.cut_after = 0
                if held.forgets:
                    del held.uploads[name]
                return False
            if held.pause_after and len(held.uploads[name]) >= held.pause_after:
                held.pause_after = 0
                held.paused.set()
                held.going.wait(WAITS)
        return True

    def place(self, repository: str, name: str) -> dict[str, str]:
        arrived = max(len(self.held.uploads[name]) - 1, 0)
        return {"Location": f"/v2/{repository}/blobs/uploads/{name}?state=1", "Range": f"0-{arrived}"}

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    """A registry on a free port of this machine."""
    held = SmallRegistry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Answering,), {"held": held}))
    held.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
