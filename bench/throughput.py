"""The serving path against its limit and its peers: each server alone on core 0, in turns; who asks, wrk, on core 1.

python bench/throughput.py --quick        bench/path.py: no sockets, steady on a busy machine, ends with 1 when worse
python bench/throughput.py [--model M1..M4] [--connections N ...] [--rounds N] [--seconds S] [--peers FOLDER]
                           [--only TEXT] [--beans CSV] [--record FILE]
                                          wherry as it chooses and with scikit-learn itself, NGINX with a constant
                                          where it is installed, the peers that bench/peers/install has put into FOLDER

Figures, medians of the rounds: requests a second, microseconds of the server's processor a request (all its processes),
median and 99th percentile; and the ratio to FastAPI and to the limit in the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from models import BEANS, MODELS, pack
from turns import SENDER_CORE, Peer, constant, cpu, free_port, serving, started, tree

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
    requests[#requests + 1] = wrk.format("POST", args[2], {["Content-Type"] = "application/json"}, line)
  end
end
function request() i = i + 1; return requests[i % #requests + 1] end
function done(s, latency)
  io.write(string.format("RESULT %d %d %.1f %.1f %d\\n", s.requests, s.duration, latency:percentile(50),
    latency:percentile(99), s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout))
end
"""
FASTAPI, LIMIT = "FastAPI, NumPy", "NGINX, constant"
START_SECONDS = 90.0


class Figures(NamedTuple):
    """One round of one server."""

    rate: float
    micros: float
    median: float  # milliseconds
    p99: float


class Asked(NamedTuple):
    """A server and the requests that it understands: a body a line."""

    peer: Peer
    bodies: Path
    path: str = "/predict"


def servers(folder: Path, model: str, beans: Path, environments: Path | None) -> dict[str, Asked]:
    """Every server of this run."""
    bundles = pack(folder, ("", "skops"), model, beans)
    rows = folder / "rows.jsonl"
    found = {"httptools, constant": Asked(constant(), rows)}
    if shutil.which("nginx"):
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        found[LIMIT] = Asked(Peer(["nginx", "-c", str(folder / "nginx.conf")], port, {}), rows)
    for form, bundle in bundles.items():
        found[f"wherry, {form}"] = Asked(serving(bundle), rows)
    return found | (dict(peers(folder, environments)) if environments else {})


def peers(folder: Path, environments: Path) -> Iterator[tuple[str, Asked]]:
    """Each at the settings that its documentation recommends for many small requests, its access log off."""
    rows, values = folder / "rows.jsonl", folder / "values.jsonl"
    names = [name.replace(" ", "_") for name in json.loads((folder / "columns.json").read_text())]
    lines = values.read_text().splitlines()
    named = [json.dumps(dict(zip(names, json.loads(line), strict=True))) for line in lines]
    environ = {
        "MODEL": str(folder / "model.joblib"),
        "COLUMNS": str(folder / "columns.json"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE / "peers"),
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def bodies(name: str, texts: list[str], before: str, after: str) -> Path:
        path = folder / f"{name}.jsonl"
        path.write_text("".join(f"{before}{text}{after}\n" for text in texts))
        return path

    def peer(environment: str, *command: str, port: int) -> Peer:
        own = environments / environment / "bin"
        path = {"PATH": f"{own}:{os.environ['PATH']}", "PORT": str(port)}
        return Peer([str(own / command[0]), *command[1:]], port, environ | path)

    port = free_port()
    options: tuple[str, ...] = ("--port", str(port), "--no-access-log", "--log-level", "warning")
    yield FASTAPI, Asked(peer("fastapi", "uvicorn", *options, "fastapi_numpy:app", port=port), rows)

    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--api-workers", "1")
    bento = peer("bentoml", "bentoml", "serve", "bentoml_batches:Service", *options, port=port)
    yield "BentoML", Asked(bento, bodies("bentoml", named, '{"rows":[', "]}"))

    kserve = peer("kserve", "python", str(HERE / "peers" / "kserve_model.py"), port=free_port())
    instances = bodies("kserve", lines, '{"instances":[', "]}")
    yield "KServe", Asked(kserve, instances, "/v1/models/model:predict")

    litserve = peer("litserve", "python", str(HERE / "peers" / "litserve_batches.py"), port=free_port())
    yield "LitServe", Asked(litserve, rows)

    port, saved = free_port(), folder / "mlflow"
    write = [environments / "mlflow" / "bin" / "python", HERE / "peers" / "mlflow_model.py", saved]
    subprocess.run(write, env=os.environ | environ, check=True, capture_output=True)
    options = ("-m", str(saved), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1")
    mlflow = peer("mlflow", "mlflow", "models", "serve", *options, port=port)
    yield "MLflow", Asked(mlflow, bodies("mlflow", lines, '{"inputs":[', "]}"), "/invocations")

    port, settings = free_port(), folder / "mlserver"
    settings.mkdir()
    # parallel_workers: its workers cannot load a model with today's uvloop
    others = {"grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0, "debug": False}
    (settings / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "http_port": port, **others}))
    loaded = {
        "name": "model",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": environ["MODEL"]},
        "max_batch_size": 256,
        "max_batch_time": 0.001,
    }
    (settings / "model-settings.json").write_text(json.dumps(loaded))
    head = f'{{"inputs":[{{"name":"predict","shape":[1,{len(names)}],"datatype":"FP64","data":'
    inputs = bodies("inputs", lines, head, "}]}")
    mlserver = peer("mlserver", "mlserver", "start", str(settings), port=port)
    yield "MLServer", Asked(mlserver, inputs, "/v2/models/model/infer")

    ray = peer("ray", "python", str(HERE / "peers" / "ray_batches.py"), port=free_port())
    yield "Ray Serve", Asked(ray, rows)


def ready(asked: Asked) -> None:
    """Once it has answered. Raises SystemExit when it does not in time."""
    with asked.bodies.open() as lines:
        body = next(lines).encode()
    url, until, said = f"http://127.0.0.1:{asked.peer.port}{asked.path}", time.monotonic() + START_SECONDS, ""
    while time.monotonic() < until:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                reply.read()
                return
        except urllib.error.HTTPError as error:
            said = error.read(300).decode()
        except OSError as error:
            said = str(error)
        time.sleep(0.05)
    raise SystemExit(f"{asked.peer.command} does not answer: {said}")


def by_wrk(asked: Asked, folder: Path, connections: int, seconds: float, pids: Sequence[int]) -> Figures:
    """Asks as fast as the server answers. pids: whose processor time is counted.

    Raises SystemExit where wrk is missing, or an answer is not 200.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk: apt-get install wrk")
    script = folder / "post.lua"
    script.write_text(WRK)
    used = sum(map(cpu, pids))
    command = ["wrk", "-t1", "--timeout", "10s", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{asked.peer.port}", "--", str(asked.bodies), asked.path],
        capture_output=True,
        text=True,
        check=True,
    )
    used = sum(map(cpu, pids)) - used
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, median, p99, wrong = map(float, line.split()[1:])
    if wrong:
        raise SystemExit(f"{wrong:.0f} answers were not 200")
    return Figures(1e6 * count / micros, 1e6 * used / count, median / 1e3, p99 / 1e3)


def measured(found: dict[str, Asked], folder: Path, asked: argparse.Namespace) -> dict[int, dict[str, list[Figures]]]:
    """The rounds of each server by connections, the servers in turns so that what disturbs one disturbs all."""
    runs: dict[int, dict[str, list[Figures]]] = {each: {title: [] for title in found} for each in asked.connections}
    for _ in range(asked.rounds):
        for title, one in found.items():
            with started(one.peer) as pid:
                ready(one)
                by_wrk(one, folder, 8, 1, [pid])  # what is compiled or cached at first
                for connections in asked.connections:
                    runs[connections][title].append(by_wrk(one, folder, connections, asked.seconds, tree(pid)))
    return runs


def table(runs: dict[str, list[Figures]], connections: int) -> Iterator[str]:
    """As the documentation shows it."""
    columns = ("requests/s", "to FastAPI", "processor µs a request", "to NGINX", "median ms", "p99 ms")
    yield f"| server, {connections} connections | {' | '.join(columns)} |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for title, rounds in runs.items():
        rate, micros, median, p99 = map(statistics.median, zip(*rounds, strict=True))
        faster = ratio(rounds, runs.get(FASTAPI), "rate")
        dearer = ratio(rounds, runs.get(LIMIT), "micros")
        yield f"| {title} | {rate:,.0f} | {faster} | {micros:,.1f} | {dearer} | {median:.2f} | {p99:.1f} |"


def ratio(rounds: list[Figures], others: list[Figures] | None, figure: str) -> str:
    if not others:
        return ""
    one = statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(rounds, others, strict=True))
    return f"{one:.2f}"


def record(path: Path, model: str, runs: dict[int, dict[str, list[Figures]]]) -> None:
    """Every round of this run in the file, in place of an earlier one of the same model."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept[model] = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} virtual cores, {platform.system()}, Python {platform.python_version()}",
        "load": os.getloadavg()[0],
        "rounds": {str(connections): by for connections, by in runs.items()},
    }
    path.write_text(json.dumps(kept, indent=1) + "\n")


def main(asked: argparse.Namespace) -> int:
    if asked.quick:
        import path

        return path.main(path.arguments([]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = servers(folder, asked.model.lower(), asked.beans, asked.peers)
        found = {title: one for title, one in found.items() if not asked.only or any(o in title for o in asked.only)}
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {SENDER_CORE})
        runs = measured(found, folder, asked)
        for connections, by in runs.items():
            print("\n".join(table(by, connections)), end="\n\n")
        if asked.record:
            record(asked.record, asked.model.lower(), runs)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default="m1", type=str.lower, choices=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, nargs="+", default=(1, 64))
    parser.add_argument("--peers", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="servers whose titles have one of these in them")
    parser.add_argument("--beans", type=Path, default=BEANS, metavar="CSV")
    parser.add_argument("--record", type=Path, metavar="FILE")
    sys.exit(main(parser.parse_args()))
