"""`wherry advise` as its user types it, against services whose capacity is known."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.cli.advise_batch import SIZES, batches, rows_of
from wherry.cli.stress_asks import Asking
from wherry.stress.plan import asks_of, target_of

HELD = 40.0  # requests a second that the stub answers; each keeps it busy for a fortieth


class Slow(http.server.BaseHTTPRequestHandler):
    """One request at a time, each for the same time, as a service with one processor."""

    protocol_version = "HTTP/1.1"
    busy = threading.Lock()

    def do_GET(self) -> None:
        with self.busy:
            time.sleep(1 / HELD)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


# An objective so wide that no busy machine and no short queue breaks it: the rate is not held all the same.
FAST = ("--probe", "1s", "--first", "20", "--slo", "p99<3s,errors<1%")


@pytest.mark.slow
def test_the_knee_of_a_service_that_is_known(slow: str, wherry: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("# ours\n[deploy.resources]\ncpu = '100m'  # a guess\n")
    done = wherry("advise", slow, *FAST, "--time", "25s", "--yes", "--peak", "100", "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # a stub that sleeps a fortieth of a second can only be slower; a quarter of a second for the rest lets more pass
    assert 0.5 * HELD <= found["knee"]["rate"] <= 1.4 * HELD
    assert found["written"] is True
    written = (tmp_path / "wherry.toml").read_text()
    assert written.startswith("# ours\n")
    assert tomllib.loads(written)["capacity"]["knee"] == pytest.approx(found["knee"]["rate"], rel=0.01)
    assert tomllib.loads(written)["capacity"]["slo"] == "p99<3s,errors<1%"
    # what was written is what forecast reads
    (tmp_path / "day.csv").write_text("0,10\n600,30\n")
    assert wherry("forecast", "day.csv").returncode == 0


def test_nothing_is_written_unasked(slow: str, wherry: Callable[..., Any], tmp_path: Path) -> None:
    done = wherry("advise", slow, *FAST, "--first", "5", "--most-rate", "5", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "knee: 5 requests a second (the objective still held at 5/s" in done.stdout
    assert "+knee = 5" in done.stdout
    assert "at most 300 s, 2,000,000 requests, 5/s" in done.stderr
    assert not (tmp_path / "wherry.toml").exists()


def test_an_objective_that_never_holds(slow: str, wherry: Callable[..., Any], tmp_path: Path) -> None:
    done = wherry("advise", slow, "--probe", "0.2s", "--first", "2", "--slo", "p99<1ms", "--yes", timeout=200)
    assert done.returncode == 4, done.stderr
    assert "no advice: " in done.stdout  # a busy machine says that the generator was the limit
    assert not (tmp_path / "wherry.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hint"),
    [
        (["http://127.0.0.1:1", "--yes"], 1, "nothing listens there", "wherry serve"),
        (["http://127.0.0.1:1"], 2, "not done without a yes", "--no-write"),
        (["http://10.255.255.1/", "--yes"], 2, "which is not this machine", "--allow-remote"),
        (["http://127.0.0.1:1", "--yes", "--slo", "p99<"], 2, "expected a number", "--slo"),
        (["http://127.0.0.1:1", "--yes", "--slo", "errors<1%"], 2, "sets no limit such as p99<100ms", "--slo"),
        (["http://127.0.0.1:1", "--yes", "--time", "soon"], 2, "--time 'soon'", "--time 30s"),
    ],
)
def test_what_is_refused(wherry: Callable[..., Any], arguments: list[str], code: int, said: str, hint: str) -> None:
    done = wherry("advise", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert hint in done.stderr


def test_ctrl_c_ends_it_with_what_was_found(slow: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "wherry", "advise", slow, *FAST, "--yes", "--probe", "5s"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "is held to" in line:  # said before the first probe, which takes five seconds
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (tmp_path / "wherry.toml").exists()
    assert "Traceback" not in out


class Rows(Slow):
    """A reply for each row that is asked, two milliseconds each; more than a hundred are refused."""

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(len(rows) * 0.002)
        body = json.dumps({"predictions": [0] * len(rows)}).encode()
        self.send_response(200 if len(rows) <= 100 else 413)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("most", [20.0, 100_000.0])
def test_more_and_more_rows_until_they_take_too_long_or_are_refused(most: float) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rows)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    target = target_of(f"http://127.0.0.1:{server.server_address[1]}/predict")
    found = batches(Asking(target, asks_of(target, [b'{"a":1}'], {})), None, most)
    server.shutdown()
    server.server_close()
    thread.join()
    assert tuple(size for size, _ in found) == SIZES[: len(found)]
    assert all(2 * size <= took for size, took in found)
    assert all(took < most for _, took in found[:-1])
    if most > 10_000:
        assert found[-1][0] == 64  # the next were refused
    else:
        assert found[-1][1] >= most
        assert len(found) < 4


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"a":1}', [{"a": 1}]),
        (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
        (b'{"columns":["a"],"rows":[[1],[2]]}', [{"a": 1}, {"a": 2}]),
        (b"[[1]]", []),
        (b"", []),
        (b"a,b\n1,2", []),
    ],
)
def test_the_rows_of_a_request(body: bytes, rows: list[dict[str, int]]) -> None:
    assert rows_of(b"POST /predict HTTP/1.1\r\n\r\n" + body) == rows
