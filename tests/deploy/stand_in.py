"""What runs in a pod where a test needs a service and not wherry's own image: golden rows answered by a rule.

How it behaves is set by STAND_IN: "" serves; crash; slow (never ready); hungry (more memory than allowed);
deaf (listens on another port); wrong (wrong answers). Where SICK exists it is not ready.
Serving port 8080, admin port 8082.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOW = os.environ.get("STAND_IN", "")
DIGEST = os.environ.get("STAND_IN_DIGEST", "")
SICK = Path("/tmp/sick")


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        unready = self.path == "/readyz" and (HOW == "slow" or SICK.exists())
        self.reply(503 if unready else 200, {"path": self.path})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        predictions = [int(row[0] > 0.5) for row in asked["rows"]]
        if HOW == "wrong":
            predictions = [1 - one for one in predictions]
        self.reply(200, {"predictions": predictions})

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Model-Digest", DIGEST)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"stand-in starts {HOW}".strip(), flush=True)
if HOW == "crash":
    print("ModuleNotFoundError: No module named 'cargo'", flush=True)
    sys.exit(3)
if HOW == "hungry":
    held = bytearray(512 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
for port in (8090 if HOW == "deaf" else 8080, 8082):
    threading.Thread(target=ThreadingHTTPServer(("", port), Service).serve_forever, daemon=True).start()
while True:
    time.sleep(3600)
