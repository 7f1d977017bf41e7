"""A proxy before an HTTP server of this machine that treats its callers badly, in ways that a test can name."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

SILENCE = 30.0 if os.environ.get("WHERRY_TEST_LONG") == "1" else 4.0
CUT_AFTER = 0.3  # a watch of wherry's lasts a second
SLOW = 2.0
GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}}
BUSY = {"kind": "Status", "apiVersion": "v1", "code": 429, "reason": "TooManyRequests", "message": "too many requests"}


class Faulty(socketserver.ThreadingTCPServer):
    """A proxy to a port of 127.0.0.1. asked: when each request came, and its path. faults: how often it was bad."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, fault: str) -> None:
        self.port, self.fault, self.faults = port, fault, 0
        self.asked: list[tuple[float, str]] = []
        self.silent_from = float("inf")  # for SILENCE seconds, a second after a deploy has taken its lock
        super().__init__(("127.0.0.1", 0), Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections are cut on purpose here."""


class Exchange(BaseHTTPRequestHandler):
    """One request a connection."""

    server: Faulty

    def do_GET(self) -> None:
        at, made = time.monotonic(), self.server
        made.asked.append((at, self.path))
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        watches, bad = "watch=true" in self.path, made.fault
        if bad == "silence" and "/leases" in self.path:
            made.silent_from = min(made.silent_from, at + 1)
        if bad == "silence" and 0 < at - made.silent_from < SILENCE:
            made.faults += 1
            time.sleep(SILENCE - (at - made.silent_from))
            return
        if bad == "expired" and watches:
            made.faults += 1
            self.said(200, GONE)
        elif bad == "busy" and "/proxy/" not in self.path and len(made.asked) % 3 == 0:
            made.faults += 1
            self.said(429, BUSY)
        elif bad == "refusing":
            made.faults += 1
            self.said(429, {"errors": [{"code": "TOOMANYREQUESTS", "message": "too many requests"}]})
        elif bad == "deleted" and "/manifests/" in self.path:
            made.faults += 1
            self.said(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]})
        else:
            if bad == "slow":
                made.faults += 1
                time.sleep(SLOW)
            self.passed(body, time.monotonic() + CUT_AFTER if bad == "cut" and watches else float("inf"))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def said(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def passed(self, body: bytes, until: float) -> None:
        """What the API says, as it comes; cut at `until`."""
        fields = [f"{key}: {value}" for key, value in self.headers.items() if key.lower() not in ("connection", "host")]
        head = [f"{self.command} {self.path} HTTP/1.1", f"Host: {self.headers['Host']}", "Connection: close", *fields]
        with socket.create_connection(("127.0.0.1", self.server.port)) as api:
            api.sendall("\r\n".join([*head, "", ""]).encode() + body)
            while True:
                api.settimeout(None if until == float("inf") else max(0.01, until - time.monotonic()))
                try:
                    said = api.recv(65536)
                except TimeoutError:
                    self.server.faults += 1
                    return
                if not said:
                    return
                self.wfile.write(said)
                self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
