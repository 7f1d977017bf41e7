"""What a service tells strangers when it refuses them, and whom it asks on their behalf: nothing, and nobody."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Child, ask, child, code_bundle, parse, request, until

CANARY = "canary-5f1e"  # in the environment, in the folder's name, in what the model raises
CODE = """
import os

def predict(rows):
    if any(row["word"] != "good" for row in rows):
        raise RuntimeError(f"{dict(os.environ)} {__file__} SELECT password FROM users; /dev/shm/psm_1")
    return [row["X"] for row in rows]
"""
INSIDE = re.compile(
    rf'{CANARY}|Traceback|File "|\.py\b|site-packages|/tmp/|/dev/shm|SELECT |sqlalchemy|msgspec|numpy|0x[0-9a-f]{{8}}'
    rf"|\b{re.escape(socket.gethostname())}\b",
    re.IGNORECASE,
)


def packed(folder: Path, code: str) -> Path:
    (folder / "rows.csv").write_text("X,word\n1.5,good\n")
    return code_bundle(folder, code, data=folder / "rows.csv")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A service whose model raises what it knows, and whose store cannot be reached."""
    bundle = packed(tmp_path_factory.mktemp(CANARY), CODE)
    away = f"mysql://{CANARY}:{CANARY}@127.0.0.1:9/{CANARY}"
    with child(bundle, SECRET=CANARY, WHERRY_STORE_ENABLED="true", WHERRY_STORE_URL=away) as service:
        yield service


def wrong_requests() -> Iterator[bytes]:
    """Requests that are refused, each for another reason or at another place."""
    good = {"X": 1.5, "word": "good"}
    values: list[Any] = [None, True, 1, 1.5, "", "x", [], [1], {}, {"a": 1}, 10**30, "é", "\0", "../..", "' OR 1=1 --"]
    for name in ("X", "word", "Z", "Xx", "words"):
        yield from (request("POST", "/predict", json.dumps({**good, name: value}).encode()) for value in values)
    for path in ("/invocations", "/v1/models/service:predict", "/api/v1.0/predictions", "/v2/models/service/infer"):
        for value in (*values, {"inputs": [{"name": "X"}]}, {"instances": [[1]]}, {"data": {"ndarray": [["a"]]}}):
            yield request("POST", path, json.dumps(value).encode())
    for data in (b"", b"{", b"[", b"\xff", b'{"X":', b"{'X': 1}", b'{"X":NaN}', b"[" * 99, b"nul", b'{"X":1}{}'):
        yield request("POST", "/predict", data)
        yield from (request("POST", "/predict", data, {"Content-Type": media}) for media in ("text/csv", "text/x", "-"))
    for name in (
        *("id", "url", "user", "host", "port", "time", "sql", "shm", "tmp"),
        "os",
        "path",
        "self",
        "__class__",
        "env",
        "model",
        "file",
        "password",
        "rows\0",
        "A" * 300,
        "%s",
        "{0}",
    ):
        yield request("POST", "/predict", json.dumps({**good, name: 1}).encode())
        yield request("POST", "/predict", json.dumps([good, {name: 1}, {"X": name}]).encode())
        yield request("POST", "/v2/models/service/infer", json.dumps({"inputs": [{"name": name}]}).encode())
        yield request("GET", f"/v1/models/{name.strip(chr(0))}")
        yield request("GET", f"/history?{name.strip(chr(0))}=1")
    for path in (
        "/predict",
        "/history",
        "/feedback",
        "/info",
        "/livez",
        "/readyz",
        "/openapi.json",
        "/invocations",
        "/ping",
    ):
        yield from (request(method, path) for method in ("GET", "DELETE", "PATCH", "TRACE"))
    for path in ("/..", "/etc/passwd", "/predict/1", "/v2/models/other", "/metrics", "/%00", "/v1/models/x", "/docs/x"):
        yield from (request(method, path) for method in ("GET", "POST", "DELETE", "PUT"))
    for asked in ("a=1", "limit=0", "since=x", "where=x", "X=1", "X=a&word=b", "word=good", "X=1&X=2", "%ff=1"):
        yield from (request("GET", f"{path}?{asked}") for path in ("/history", "/predict"))
    yield from (request("POST", "/feedback", json.dumps(value).encode()) for value in values)
    yield from (request("GET", "/livez", headers={"Host": host}) for host in ("evil.example", "127.0.0.1.x", "[::2]"))
    yield from (b"GET /livez HTTP/1.1\r\n", b"GET / HTTP/3\r\n\r\n", b"\0\0\r\n\r\n")
    yield from (request("POST", "/predict", headers={name: "x"}) for name in ("Content-Length", "Transfer-Encoding"))


def test_no_refusal_tells_internals(fragile: Child) -> None:
    """T34: of 200 that differ, none; the log of the same service, which is for its owner, tells them."""
    seen: set[tuple[int, str]] = set()
    for data in wrong_requests():
        with socket.create_connection(fragile.address, timeout=30) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            back = b"".join(iter(lambda: sock.recv(65536), b""))
        answer = parse(back)[0] if back else None
        if answer is None or answer.status < 400:
            continue
        text = back.decode(errors="replace")
        found = INSIDE.search(text)
        assert found is None, (found, data, text)
        problem = answer.json
        about = {name: value for name, value in problem.items() if name not in ("request_id", "curl")}
        seen.add((answer.status, json.dumps(about, sort_keys=True)))
    statuses = sorted({status for status, _ in seen})
    print(f"T34: {len(seen)} different refusals, of the statuses {statuses}")
    assert len(seen) >= 200
    assert {400, 404, 405, 415, 421, 422, 500, 503} <= set(statuses)
    until(lambda: CANARY in fragile.said)
    assert len(set(INSIDE.findall(fragile.said))) > 3


# --- whom it asks: T51 --------------------------------------------------------------------------------------------

ELSEWHERE = (
    *("http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/x", "file:///etc/hostname", "/etc/hostname"),
    *("gopher://127.0.0.1:9/", "ftp://127.0.0.1/x", "//127.0.0.1/share", "data:text/plain,x", "http://localhost:9/"),
)
FETCH = """
from urllib.request import urlopen

def predict(rows):
    for row in rows:
        if "127.0.0.1" in row["word"] or "file:" in row["word"]:  # and nothing beyond this machine
            urlopen(row["word"], timeout=5).read()
    return [row["X"] for row in rows]
"""


def calls(service: Child, work: Callable[[], object], folder: Path) -> list[str]:
    """The calls of the system by which `service` reached out for something while `work` was done."""
    log = folder / "calls"
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=connect,open,openat,sendto", "-p"]
    with subprocess.Popen([*command, str(service.process.pid)], stderr=subprocess.PIPE) as tracing:
        status = Path(f"/proc/{service.process.pid}/status")
        until(lambda: f"TracerPid:\t{tracing.pid}" in status.read_text() or tracing.poll() is not None)
        if tracing.poll() is not None:
            pytest.skip("strace may not look at another process")
        work()
        tracing.terminate()
        tracing.wait(10)
    reached = re.compile(r"connect\(|sendto\(.*sin_addr|/etc/hostname")
    return [line for line in log.read_text().splitlines() if reached.search(line)]


def urls_everywhere(service: Child) -> None:
    for url in ELSEWHERE:
        for value in ({"X": 1.5, "word": url}, {"X": url}, {url: 1}, url, {"url": url}, {"instances": [[url]]}):
            ask(service.address, "POST", "/predict", value)
        tensor = {"name": "X", "datatype": "BYTES", "shape": [1], "data": [url]}
        for parameters in ({"url": url}, {"shared_memory_region": url}, {"binary_data_size": url}):
            asked = {"id": url, "inputs": [{**tensor, "parameters": parameters}], "parameters": parameters}
            ask(service.address, "POST", "/v2/models/service/infer", asked)
        seldon = {"strData": url, "data": {"names": [url], "ndarray": [[url]]}}
        ask(service.address, "POST", "/api/v1.0/predictions", seldon)
        ask(service.address, "POST", "/feedback", {"id": url, "truth": url})
        headers = {"X-Request-Id": url, "Referer": url, "X-Forwarded-Host": url, "Origin": url, "traceparent": url}
        ask(service.address, "POST", "/predict", {"X": 1.5, "word": "good"}, headers)
        ask(service.address, "GET", "/livez", headers={"Host": url})
        ask(service.address, "GET", f"{url}")
        ask(service.address, "POST", "/predict", url.encode(), {"Content-Type": "image/png"})


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("code", [CODE, FETCH], ids=["service", "control"])
def test_no_request_makes_the_service_ask_somebody(code: str, tmp_path: Path) -> None:
    """T51: seen at the system's calls. The control is a model that fetches what it is told."""
    with child(packed(tmp_path, code)) as service:
        found = calls(service, lambda: urls_everywhere(service), tmp_path)
        print(f"T51: {len(found)} calls")
        assert (found == []) is (code == CODE), found
        assert ask(service.address, "POST", "/predict", {"X": 1.5, "word": "good"}).status == 200
