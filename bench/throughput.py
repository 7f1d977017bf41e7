"""The serving path against its limit: servers that answer a constant. All in turns, server on core 0, client on core 1.

python bench/throughput.py --quick        bench/path.py: no sockets, steady on a busy machine, ends with 1 when worse
python bench/throughput.py [--rounds N] [--seconds S] [--connections N ...] [--fastapi PYTHON]
                                          with NGINX and wrk where they are installed, every form of the model, and
                                          FastAPI, uvicorn, NumPy and scikit-learn out of another environment

Figures: requests a second, microseconds of the server's processor a request, median and 99th percentile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from turns import SENDER_CORE, Peer, constant, cpu, free_port, started

HERE = Path(__file__).parent
NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err; daemon off; master_process off;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
 fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
 server {{ listen 127.0.0.1:{port}; default_type application/json;
  location / {{ return 200 '{{"prediction":1}}'; }} }} }}
"""
WRK = """
local requests, i = {}, 0
function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/predict", {["Content-Type"] = "application/json"}, line)
  end
end
function request() i = i + 1; return requests[i % #requests + 1] end
function done(s, latency)
  io.write(string.format("RESULT %d %d %.1f %.1f %d\\n", s.requests, s.duration, latency:percentile(50),
    latency:percentile(99), s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout))
end
"""


class Figures(NamedTuple):
    """One round of one server."""

    rate: float
    micros: float
    median: float  # milliseconds
    p99: float


def pack(folder: Path, forms: tuple[str, ...]) -> dict[str, Path]:
    """A logistic regression over thirty columns, in each form; its records as rows.jsonl, one a line."""
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry
    from wherry.model.proving import convert

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X.to_numpy(), y), folder / "model.joblib")
    (folder / "columns.json").write_text(json.dumps(list(X)))
    (folder / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in X.to_dict("records")))
    bundles, every = {}, dict(convert.FORMS)
    for form in forms:
        convert.FORMS = {form: every[form]}  # the others are not what is measured
        made = wherry.pack(model, X, y, to=str(folder / form), name="limit").conversion.form
        if made != form:
            raise SystemExit(f"stored as {made}, not {form}")
        bundles[form] = folder / form
    return bundles


def peers(folder: Path, forms: tuple[str, ...], fastapi: str) -> dict[str, Peer]:
    """Every server of this run."""
    found = {"constant": constant()}
    if shutil.which("nginx"):
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        found["NGINX constant"] = Peer(["nginx", "-c", str(folder / "nginx.conf")], port, {})
    for form, bundle in pack(folder, forms).items():
        port = free_port()
        environ = {
            "WHERRY_BUNDLE": str(bundle),
            "WHERRY_SERVE_PORT": str(port),
            "WHERRY_SERVE_ADMIN_PORT": str(free_port()),
            "WHERRY_STORE_ENABLED": "false",
        }
        found[f"wherry, {form}"] = Peer([sys.executable, "-m", "wherry.server"], port, environ)
    if fastapi:
        port = free_port()
        options = ["--port", str(port), "--no-access-log", "--log-level", "warning", "--app-dir", str(HERE / "peers")]
        environ = {
            "MODEL": str(folder / "model.joblib"),
            "COLUMNS": str(folder / "columns.json"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        found["FastAPI, NumPy"] = Peer([fastapi, "-m", "uvicorn", *options, "fastapi_numpy:app"], port, environ)
    return found


def by_wrk(port: int, folder: Path, connections: int, seconds: float, pid: int) -> Figures:
    script = folder / "post.lua"
    script.write_text(WRK)
    used = cpu(pid)
    command = ["wrk", "-t1", "--timeout", "10s", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}", "--", str(folder / "rows.jsonl")],
        capture_output=True,
        text=True,
        check=True,
    )
    used = cpu(pid) - used
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, median, p99, wrong = map(float, line.split()[1:])
    if wrong:
        raise SystemExit(f"{wrong:.0f} answers were not 200")
    return Figures(1e6 * count / micros, 1e6 * used / count, median / 1e3, p99 / 1e3)


def by_python(port: int, folder: Path, connections: int, seconds: float, pid: int) -> Figures:
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    bodies = (folder / "rows.jsonl").read_text().splitlines()
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]
    selector = selectors.DefaultSelector()
    sent: dict[int, float] = {}
    for number in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ, sock)
        sock.send(requests[number % len(requests)])
        sent[sock.fileno()] = time.perf_counter()
    count, waits = 0, []
    used, start = cpu(pid), time.perf_counter()
    end = start + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(1):
            if not key.data.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("an answer was not 200")
            waits.append(now - sent[key.fd])
            key.data.send(requests[count % len(requests)])
            sent[key.fd] = now
            count += 1
    elapsed, used = time.perf_counter() - start, cpu(pid) - used
    for key in list(selector.get_map().values()):
        key.data.close()
    waits.sort()
    return Figures(
        count / elapsed, 1e6 * used / count, 1e3 * statistics.median(waits), 1e3 * waits[int(0.99 * len(waits))]
    )


def main(asked: argparse.Namespace) -> int:
    if asked.quick:
        import path

        return path.main(path.arguments([]))
    load = by_wrk if shutil.which("wrk") else by_python
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        found = peers(folder, ("linear", "onnx", "skops"), asked.fastapi)
        pids = {title: stack.enter_context(started(peer)) for title, peer in found.items()}
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, {SENDER_CORE})
        print(f"{'server':<18} {'connections':>11} {'requests/s':>11} {'CPU us':>8} {'median ms':>10} {'p99 ms':>8}")
        for connections in asked.connections:
            runs: dict[str, list[Figures]] = {title: [] for title in found}
            for _ in range(asked.rounds):
                for title, peer in found.items():  # in turns, so that what disturbs one disturbs all
                    runs[title].append(load(peer.port, folder, connections, asked.seconds, pids[title]))
            for title, rounds in runs.items():
                rate, micros, median, p99 = map(statistics.median, zip(*rounds, strict=True))
                print(f"{title:<18} {connections:>11} {rate:>11,.0f} {micros:>8.1f} {median:>10.2f} {p99:>8.2f}")
            limit = "NGINX constant" if "NGINX constant" in found else "constant"
            print(f"\n{'ratio':<18} {'connections':>11} {'CPU to ' + limit:>22} {'rate to FastAPI':>16}")
            for title, rounds in runs.items():
                micros = statistics.median(a.micros / b.micros for a, b in zip(rounds, runs[limit], strict=True))
                line = f"{title:<18} {connections:>11} {micros:>22.2f}"
                if asked.fastapi:
                    peer_runs = runs["FastAPI, NumPy"]
                    line += (
                        f" {statistics.median(a.rate / b.rate for a, b in zip(rounds, peer_runs, strict=True)):>16.1f}"
                    )
                print(line)
            print()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, nargs="+", default=(1, 64))
    parser.add_argument("--fastapi", default="", metavar="PYTHON")
    sys.exit(main(parser.parse_args()))
