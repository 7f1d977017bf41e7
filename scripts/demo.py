"""The main job on the breast-cancer example, in ./demo: train, pack, serve, predict once, then serve until Ctrl-C.

Exits 0 after Ctrl-C, 1 as soon as a step fails. PORT chooses another serving port.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
WHERRY = Path(sys.executable).parent / "wherry"
PATIENCE = 60.0  # seconds until the service must be ready


def main() -> int:
    lay_out()
    for command in (
        ["python", "train.py"],
        [
            *("wherry", "pack", "model/model_binary.dat.gz", "--data", "train.csv", "--target", "diagnosis"),
            *("--name", "breast-cancer", "--trust"),
        ],
    ):
        if (code := run(command)) != 0:
            return code
    port = free_port(int(os.environ.get("PORT", "8080")))
    address = f"http://127.0.0.1:{port}"
    service = start(["wherry", "serve", "--port", str(port)])
    try:
        if not ready(service, f"{address}/readyz"):
            return service.poll() or 1
        if (code := run(["wherry", "predict", address, "bundle/example.json"])) != 0:
            return code
        tell(address)
        return service.wait()
    finally:
        if service.poll() is None:
            service.terminate()
            service.wait()


def lay_out() -> None:
    """./demo as a user's own folder: the example's files, nothing of an earlier run but its stored predictions."""
    DEMO.mkdir(exist_ok=True)
    for source in (ROOT / "examples" / "breast-cancer").iterdir():
        if source.is_file():
            shutil.copy(source, DEMO / source.name)


def argv(command: list[str]) -> list[str]:
    """The command as it is shown, with this environment's own programs in place of the names."""
    return [{"python": sys.executable, "wherry": str(WHERRY)}[command[0]], *command[1:]]


def show(command: list[str]) -> None:
    print(f"\ndemo$ {shlex.join(command)}", flush=True)


def run(command: list[str]) -> int:
    show(command)
    return subprocess.run(argv(command), cwd=DEMO, check=False).returncode


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """The service in a session of its own: a terminal's Ctrl-C reaches it once, by way of this process."""
    show(command)
    service = subprocess.Popen(argv(command), cwd=DEMO, start_new_session=True)

    def forward(number: int, frame: FrameType | None) -> None:
        service.send_signal(number)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    return service


def free_port(wanted: int) -> int:
    """The port, or the next one that nobody listens on: another service there would answer in this one's place."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                if port != wanted:
                    print(f"port {wanted} is taken; the demo serves on {port}")
                return port
    return wanted


def ready(service: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and service.poll() is None:
        try:
            with opener.open(url, timeout=2) as reply:
                if reply.status == 200:
                    return True
        except OSError:  # not listening yet, or not ready yet (an HTTPError is one too)
            time.sleep(0.05)
    return False


def tell(address: str) -> None:
    print(
        f"""
The page          {address}/
The docs          {address}/docs
Predictions       demo/.wherry/predictions.db (SQLite)
The files         demo/: the model, train.csv, the bundle, wherry.toml
Ask it yourself   curl --json @demo/bundle/example.json {address}/predict
Ctrl-C ends it.
""",
        flush=True,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
