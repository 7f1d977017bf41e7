"""Data from elsewhere: had whole and right, or not at all, and said so."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.events import Progress
from wherry.errors import DownloadFailed, DownloadWrong
from wherry.model.download import download

CONTENT = b"a,b\n" + b"1,2\n" * 200_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Elsewhere(BaseHTTPRequestHandler):
    """/data sends it, /half ends in its middle, /other sends something else; anything else is not there."""

    asked: list[str] = []  # noqa: RUF012  # of the one server of a test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path not in ("/data", "/half", "/other"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"/data": CONTENT, "/half": CONTENT[:1000], "/other": CONTENT[::-1]}[self.path])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    Elsewhere.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_is_had_once_and_its_progress_told(elsewhere: str, tmp_path: Path) -> None:
    told: list[Any] = []
    target = tmp_path / "data" / "rows.csv"
    assert download(f"{elsewhere}/data", DIGEST, target, tell=told.append) == target
    assert target.read_bytes() == CONTENT
    assert told[-1] == Progress("downloading rows.csv", len(CONTENT), len(CONTENT), "bytes")
    assert download(f"{elsewhere}/data", DIGEST, target) == target
    assert Elsewhere.asked == ["/data"], "what is there and right is used"
    target.write_bytes(b"changed")
    download(f"{elsewhere}/data", DIGEST, target)
    assert target.read_bytes() == CONTENT
    assert Elsewhere.asked == ["/data", "/data"], "what is there and is something else is had again"


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/half", DownloadFailed, "ended after 1,000 of 800,004 bytes"),
        ("/other", DownloadWrong, "sent something else: sha-256"),
        ("/none", DownloadFailed, "404"),
    ],
)
def test_what_is_not_whole_or_not_right_is_not_kept(
    path: str, kind: type[Exception], said: str, elsewhere: str, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    target.write_bytes(b"mine")
    with pytest.raises(kind, match=said):
        download(f"{elsewhere}{path}", DIGEST, target)
    assert target.read_bytes() == b"mine"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]


def test_without_a_network_a_script_ends_with_what_to_type(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there once it is closed
    script = f"import wherry; wherry.fetch('http://127.0.0.1:{port}/rows.csv', sha256='{DIGEST}', to='rows.csv')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2:]
    assert last[0].endswith(f"http://127.0.0.1:{port}/rows.csv cannot be downloaded: [Errno 111] Connection refused")
    assert last[1].startswith(f"hint: where there is a network: curl -L -o rows.csv http://127.0.0.1:{port}/rows.csv")


def test_only_what_is_an_address_is_asked(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="no https:// address"):
        download("rows.csv", DIGEST, tmp_path / "rows.csv")
