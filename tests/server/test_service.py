"""The service as a process: what it proves before it listens, what it tells, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
from serving import (
    EXAMPLE,
    Child,
    Fake,
    Linearly,
    Running,
    ask,
    child,
    code_bundle,
    counted,
    free_port,
    linear_bundle,
    metrics,
    parse,
    predict,
    request,
    until,
)

from wherry.contract import names
from wherry.contract.events import Event, Note
from wherry.contract.project import Project, Serve
from wherry.errors import AddressUnusable, PortTaken
from wherry.model.bundle import golden, read_manifest
from wherry.server import threads
from wherry.server.admin import HUNG, Admin, AdminSite, Alone
from wherry.server.drain import Drain, Life
from wherry.server.environment import project_of
from wherry.server.ports import bind, bind_next, deafen, holder, waiting
from wherry.server.predictor import Cost
from wherry.server.run import serve
from wherry.server.service import announce

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
FORBIDDEN = ("click", "rich", "pandas", "sklearn", "scipy", "onnx", "onnxruntime", "sqlalchemy", "kubernetes", "yaml")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_bundle(tmp_path_factory.mktemp("served") / "bundle")


def test_a_service_tells_where_everything_is_and_answers(packed: Path) -> None:
    with child(packed) as service:
        assert predict(service.address, EXAMPLE).json == {"prediction": 1}
        said = service.said
        assert "8 golden rows answered" in said
        for fact in (f"http://127.0.0.1:{service.port}/docs", f"http://127.0.0.1:{service.admin_port}/metrics", "MiB"):
            assert fact in said
        metrics = ask(service.admin, "GET", "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b'wherry_requests_total{door="native",status="200"} 1' in metrics.body
        assert b"wherry_ready 1" in metrics.body
        probe = {"X-Wherry-No-Store": "probe"}
        assert predict(service.address, golden(packed, read_manifest(packed)).request(), **probe).status == 200
        classes = re.findall(
            rb'wherry_predictions_total\{class="\d"\} (\d+)', ask(service.admin, "GET", "/metrics").body
        )
        assert sum(map(int, classes)) == 1, "one was predicted for somebody"
        assert b'name="breast"' in metrics.body
        assert ask(service.admin, "GET", "/livez").status == 200
        assert ask(service.admin, "GET", "/readyz").json == {"status": "ready"}
        assert ask(service.admin, "GET", "/predict").status == 404
        assert ask(service.admin, "POST", "/metrics").headers["allow"] == "GET, HEAD"


def test_only_what_a_linear_model_needs_is_imported(packed: Path) -> None:
    code = f"""
import sys, os, threading, time, urllib.request, signal
os.environ.update(WHERRY_BUNDLE={str(packed)!r}, WHERRY_SERVE_PORT="{free_port()}",
                  WHERRY_SERVE_ADMIN_PORT="{free_port()}", WHERRY_STORE_ENABLED="false")
from wherry.server.__main__ import main
assert "numpy" not in sys.modules
def stop():
    url = "http://127.0.0.1:" + os.environ["WHERRY_SERVE_PORT"] + "/livez"
    for _ in range(1000):
        try:
            urllib.request.urlopen(url).read()
            break
        except OSError:
            time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=stop).start()
assert main() == 0
assert not {{"wherry.server.spool", "importlib.metadata"}} & set(sys.modules)
assert os.environ["OMP_NUM_THREADS"].isdigit()
print(sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.strip().splitlines()[-1]
    for name in FORBIDDEN:
        assert f"'{name}'" not in loaded
    for name in ("numpy", "msgspec", "httptools"):
        assert f"'{name}'" in loaded


def test_a_bundle_that_answers_otherwise_opens_no_port(packed: Path, tmp_path: Path) -> None:
    from wherry.contract.manifest import Manifest
    from wherry.model import bundle

    manifest = bundle.read_manifest(packed)
    files = {name: (packed / name).read_bytes() for name in manifest.files}
    golden = json.loads(files["golden.json"])
    golden["predictions"][0] = 1 - golden["predictions"][0]
    files["golden.json"] = json.dumps(golden).encode()
    assert isinstance(bundle.write(tmp_path / "other", manifest, files), Manifest)
    service = Child(tmp_path / "other", {})
    assert service.process.wait(20) == 1
    assert "golden" in service.said
    with pytest.raises(OSError):
        socket.create_connection(service.address, timeout=1)
    service.log.close()


def test_without_golden_rows_one_finite_answer_is_enough_and_it_says_so(tmp_path: Path) -> None:
    with child(linear_bundle(tmp_path / "bundle", golden=False)) as service:
        assert predict(service.address, EXAMPLE).status == 200
        assert "no golden rows: one warm-up answer" in service.said


def test_a_missing_bundle_and_a_wrong_setting_are_told_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for environ, words in (({}, "no bundle in"), ({"WHERRY_SERVE_HOST": "256.0.0.1"}, "")):
        service = Child(tmp_path / "empty", environ)
        assert service.process.wait(20) in (1, 2)
        assert words in service.said
        assert "hint: " in service.said
        assert "Traceback" not in service.said
        service.log.close()


def test_a_column_may_be_left_out_where_the_project_says_its_value(packed: Path) -> None:
    most = {name: value for name, value in EXAMPLE.items() if name != "area_worst"}
    asked = "/predict?" + urlencode(most)
    for value, prediction in ((EXAMPLE["area_worst"], 1), (-9999, 0)):
        with child(packed, WHERRY_SERVE_DEFAULTS=json.dumps({"area_worst": value})) as service:
            assert predict(service.address, most).json == {"prediction": prediction}
            assert predict(service.address, [most, EXAMPLE]).json == {"predictions": [prediction, 1]}
            assert ask(service.address, "GET", asked).json == {"prediction": prediction}
            assert predict(service.address, {**most, "area_worst": "x"}).status == 422
            schema = ask(service.address, "GET", "/openapi.json").json["components"]["schemas"]["Record"]
            assert "area_worst" not in schema["required"]
    with child(packed) as service:
        assert predict(service.address, most).status == 422


def test_a_default_that_the_model_does_not_take_is_told(packed: Path) -> None:
    for defaults, words in (({"area_wurst": 1}, "did you mean area_worst?"), ({"area_worst": "x"}, "is a text, not a")):
        service = Child(packed, {"WHERRY_SERVE_DEFAULTS": json.dumps(defaults)})
        assert service.process.wait(20) == 2
        assert words in service.said
        service.log.close()


# Ports


def test_a_busy_port_names_its_holder(packed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            serve(packed, Project(serve=Serve(port=port, admin_port=free_port())))
        assert f"process id {os.getpid()}" in str(refused.value)
        assert "pytest" in str(refused.value)
        assert refused.value.hint
    assert holder(port) == ""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("setting", ["--port", "--admin-port"])
def test_a_busy_port_is_told_before_the_model_is_loaded(
    packed: Path, monkeypatch: pytest.MonkeyPatch, setting: str, workers: int
) -> None:
    monkeypatch.setattr("wherry.server.run.Loaded", lambda *about: pytest.fail("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken) as refused:
        ports = [taken.getsockname()[1], free_port()]
        port, admin = ports if setting == "--port" else reversed(ports)
        serve(packed, Project(serve=Serve(port=port, admin_port=admin, workers=workers)))
    assert refused.value.hint.endswith(f" {setting}")


def test_looking_whether_a_port_is_free_opens_it_to_nobody_and_leaves_it_free() -> None:
    with bind("127.0.0.1", free_port(), listen=False) as looked:
        address = looked.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
    with bind(*address), socket.create_connection(address, timeout=5):
        pass


def test_a_busy_admin_port_that_nobody_asked_for_becomes_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken):
            bind("127.0.0.1", port)
        with bind_next("127.0.0.1", port, frozenset({port + 1})) as found:
            assert found.getsockname()[1] > port + 1


def test_the_chosen_admin_port_is_told() -> None:
    from wherry.server.run import admin_socket

    told: list[Event] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with admin_socket(Project(serve=Serve(admin_port=port)), False, told.append) as found:
            assert isinstance(told[0], Note)
            assert str(found.getsockname()[1]) in told[0].text


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(AddressUnusable, match="cannot listen"):
        bind("192.0.2.1", free_port())


@pytest.mark.parametrize(
    ("host", "lines"),
    [
        ("0.0.0.0", ["listening on 0.0.0.0:{0}", "page      /", "admin     listening on 0.0.0.0:{1}: /metrics"]),
        ("::", ["listening on [::]:{0}", "page      /", "admin     listening on [::]:{1}: /metrics"]),
        ("127.0.0.1", ["page      http://127.0.0.1:{0}/", "admin     http://127.0.0.1:{1}/metrics"]),
    ],
)
def test_an_address_is_told_where_there_is_one(host: str, lines: list[str]) -> None:
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    told: list[Event] = []
    with bind(host, free_port()) as serving, bind(host, free_port()) as admin:
        announce(serving, admin, Project(serve=Serve(host=host)), "", told.append)
        ports = [sock.getsockname()[1] for sock in (serving, admin)]
    said = "\n".join(event.text for event in told if isinstance(event, Note))
    for line in lines:
        assert line.format(*ports) in said
    assert ("http://" in said) == (host == "127.0.0.1")


# The environment


def test_in_an_image_every_address_is_listened_on() -> None:
    image = Path("/srv/bundle")
    assert project_of({}, image).project.serve.host == "0.0.0.0"
    assert project_of({"WHERRY_SERVE_HOST": "127.0.0.1"}, image).project.serve.host == "127.0.0.1"
    assert project_of({}, Path("bundle")).project.serve.host == "127.0.0.1"
    assert project_of({"WHERRY_TOKEN_FILE": "/t"}, image).project.serve.token_file == "/t"


def test_threads_follow_the_cgroups_quota(tmp_path: Path) -> None:
    here = len(os.sched_getaffinity(0))
    assert threads.usable(tmp_path) == here
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert threads.usable(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.usable(tmp_path) == here
    first = tmp_path / "first" / "cpu"  # as cgroup version 1 has it
    first.mkdir(parents=True)
    (first / "cpu.cfs_period_us").write_text("100000\n")
    for spent, cores in (("50000", 1), ("-1", here)):
        (first / "cpu.cfs_quota_us").write_text(f"{spent}\n")
        assert threads.usable(first.parent) == cores
    environ = {"OMP_NUM_THREADS": "7"}
    threads.limit(1, environ, tmp_path)
    assert environ["OMP_NUM_THREADS"] == "7"
    assert environ["OPENBLAS_NUM_THREADS"] == str(here)


# The end


def test_ctrl_c_finishes_and_exits_0(packed: Path) -> None:
    with child(packed) as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(10) == 0
        assert "Ctrl-C" in service.said


def test_sigterm_keeps_answering_then_exits_0(packed: Path) -> None:
    with child(packed, WHERRY_SERVE_DRAIN_SECONDS="1") as service:
        body = json.dumps(EXAMPLE).encode()
        with socket.create_connection(service.address, timeout=10) as kept:
            kept.sendall(request("POST", "/predict", body))
            assert parse(kept.recv(65536))[0].headers.get("connection") is None
            service.process.send_signal(signal.SIGTERM)
            until(lambda: ask(service.address, "GET", "/readyz").status == 503)
            assert ask(service.admin, "GET", "/readyz").json == {"status": "draining"}
            assert ask(service.address, "GET", "/livez").status == 200
            answer = predict(service.address, EXAMPLE)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            kept.sendall(request("POST", "/predict", body))
            assert parse(kept.makefile("rb").read())[0].headers["connection"] == "close"
        assert service.process.wait(10) == 0


def drained(service: Running, life: Life, lame: float) -> tuple[Drain, threading.Event, list[bool]]:
    """A drain of `service`, waiting for its signal on the service's own loop."""
    finished, result = threading.Event(), []

    async def make() -> Drain:
        return Drain(service.port, life, lambda: service.predictions.batcher.idle, lambda event: None, lame=lame)

    drain = asyncio.run_coroutine_threadsafe(make(), service.loop).result(5)

    async def run() -> None:
        result.append(await drain.run())
        finished.set()

    asyncio.run_coroutine_threadsafe(run(), service.loop)
    return drain, finished, result


SLOW = """
import time
from pathlib import Path
from urllib.parse import urlencode

while Path("hold").exists():
    time.sleep(0.01)
if Path("fail").exists():
    raise RuntimeError("the weights are gone")

def predict(X: list[float]) -> list[float]:
    time.sleep({seconds} if Path("slow").exists() else 0.005)
    return X
"""


def slow_bundle(folder: Path, seconds: float = 0.0) -> Path:
    """A model that takes so long where there is a file "slow", and to load until there is none called "hold"."""
    return code_bundle(folder, SLOW.format(seconds=seconds))


@pytest.mark.parametrize("lame", [True, False], ids=["drain", "control"])
def test_nothing_in_flight_is_lost_and_nothing_new_refused_in_the_lame_time(lame: bool, tmp_path: Path) -> None:
    """T02: 200 requests of 2 s, and 50 new connections a second for 5 s after the signal; CI does a fifth of it."""
    many, each, seconds, spare = (200, 2.0, 5.0, 0.1) if LONG else (40, 0.4, 2.0, 1.0)
    asked = {"x0": 1.5}

    def status() -> int:
        try:
            return predict(service.address, asked).status
        except OSError:
            return 0

    bundle = slow_bundle(tmp_path, each)
    drain = str(seconds if lame else 0)
    with child(bundle, WHERRY_SERVE_DRAIN_SECONDS=drain) as service, ThreadPoolExecutor(2 * many + 100) as pool:
        (tmp_path / "slow").touch()
        first = [pool.submit(status) for _ in range(many)]
        until(lambda: counted(metrics(service), names.METRIC_IN_FLIGHT) == many)
        later, start = [], time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        while time.monotonic() < start + seconds - spare:
            later.append(pool.submit(status))
            time.sleep(0.02)  # the pace of the experiment
        assert service.process.wait(40) == 0
        took = time.monotonic() - start
        assert [future.result(20) for future in first] == [200] * many
        refused = sum(future.result(20) != 200 for future in later)
        print(f"T02: {many} of {many} answered, {refused} of {len(later)} new ones refused, ended after {took:.2f} s")
        assert (refused == 0) is lame


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_ready_once_the_model_is_loaded_and_not_before(workers: int, tmp_path: Path) -> None:
    """T41: for as long as loading takes, 120 s in the long form. Without the wait, the control, it is ready."""
    bundle = slow_bundle(tmp_path)
    (tmp_path / "hold").touch()
    service = Child(bundle, {"WHERRY_SERVE_WORKERS": str(workers)})
    try:
        end, probes = time.monotonic() + (120 if LONG else 0.5), 0
        while time.monotonic() < end:
            assert service.process.poll() is None, service.said
            for address in (service.address, service.admin):
                with contextlib.suppress(ConnectionRefusedError):
                    assert ask(address, "GET", "/readyz").status == 503
            probes += 2
            time.sleep(0.05)  # the pace of the experiment
        print(f"T41: none of {probes} probes said that it is ready")
        (tmp_path / "hold").unlink()
        service.wait_ready()
        assert predict(service.address, {"x0": 1.5}).json == {"prediction": 1.5}
    finally:
        service.process.kill()
        service.process.wait()
        service.log.close()


def test_the_first_process_of_a_container_ends_when_it_is_told_while_it_loads(tmp_path: Path) -> None:
    """It ignores every signal that it has no handler for, and its pod would stay for all of its grace period."""
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    if shutil.which(alone[0]) is None or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, for a process namespace of its own")
    bundle = slow_bundle(tmp_path)
    (tmp_path / "hold").touch()
    service = Child(bundle, {}, alone)
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")

    def ended() -> bool:
        for pid in children.read_text().split() if service.process.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        return service.process.poll() is not None

    try:
        until(ended, seconds=20, what=lambda: service.said)
        assert service.process.returncode == 128 + signal.SIGTERM
    finally:
        service.process.kill()
        service.process.wait()
        service.log.close()


def test_a_model_that_cannot_be_loaded_is_told_and_ends_it(tmp_path: Path) -> None:
    bundle = slow_bundle(tmp_path)
    (tmp_path / "fail").touch()
    service = Child(bundle, {})
    assert service.process.wait(20) == 1
    assert "the weights are gone" in service.said and "error: " in service.said
    service.log.close()


def test_a_second_ctrl_c_does_not_wait() -> None:
    with Running(Fake(lambda row: 1, seconds=3), cost=Cost(3.0, 0.0)) as service, ThreadPoolExecutor(1) as pool:
        drain, finished, result = drained(service, service.life, lame=0.0)
        slow = pool.submit(predict, service.address, EXAMPLE)
        until(lambda: service.port.in_flight == 1)
        service.loop.call_soon_threadsafe(drain.interrupt)
        assert not finished.wait(0.2)
        service.loop.call_soon_threadsafe(drain.interrupt)
        assert finished.wait(1)
        assert result == [False]
        assert slow.result(20).status == 200


def test_a_service_whose_words_nobody_reads_any_more_ends_all_the_same() -> None:
    def gone(event: Event) -> None:
        raise BrokenPipeError

    with Running(Linearly()) as service:
        drain, finished, result = drained(service, service.life, lame=0.0)
        drain.tell = gone
        service.loop.call_soon_threadsafe(drain.terminate)
        assert finished.wait(20)
        assert result == [True]


def test_a_loop_that_hangs_shows_on_the_admin_port() -> None:
    with Running(Fake(lambda row: 1)) as service:
        sock = bind("127.0.0.1", free_port())
        admin = Admin(sock, AdminSite(Alone(service.port, service.life, lambda: "")))
        admin.start()
        try:
            address = sock.getsockname()
            assert ask(address, "GET", "/livez").status == 200
            stopped = threading.Event()
            service.loop.call_soon_threadsafe(lambda: stopped.wait(20))
            service.port.ticked -= 2 * HUNG
            until(lambda: ask(address, "GET", "/livez").status == 503)
            assert ask(address, "GET", "/livez").json == {"status": "hung"}
            stopped.set()
            until(lambda: ask(address, "GET", "/livez").status == 200)
        finally:
            admin.stop()
            sock.close()


def test_the_facts_name_the_memory(packed: Path) -> None:
    with child(packed) as service:
        assert re.search(r"loaded in \d\.\d\d s, a prediction takes [\d.e-]+ ms in the loop, \d+ MiB", service.said)
    with child(packed, WHERRY_SERVE_SCORING="thread") as service:
        assert "ms in a thread, " in service.said
        assert predict(service.address, EXAMPLE).status == 200


# Connections at the very end


def burst(service: Running, stop: Callable[[], Awaitable[None] | None]) -> list[bytes]:
    """What 40 clients read whose connections nobody had accepted when `stop` was called; empty where reset."""

    async def connect_and_stop() -> list[socket.socket]:
        made = [socket.create_connection(service.address, timeout=5) for _ in range(40)]
        service.port.closing = True
        stopping = stop()
        if stopping is not None:
            await stopping
        return made

    clients = asyncio.run_coroutine_threadsafe(connect_and_stop(), service.loop).result(10)
    found = []
    for client in clients:
        with client:
            try:
                client.sendall(request("POST", "/predict", json.dumps(EXAMPLE).encode()))
                found.append(client.makefile("rb").read())
            except (ConnectionResetError, BrokenPipeError):
                found.append(b"")
    return found


def test_whoever_is_connected_when_listening_ends_is_answered() -> None:
    with Running(Linearly()) as service:
        for data in burst(service, service.port.stop_politely):
            answer, rest = parse(data)
            assert (answer.status, answer.headers["connection"], rest) == (200, "close", b"")
        with pytest.raises(OSError):
            socket.create_connection(service.address, timeout=1)


def test_the_same_check_finds_connections_that_a_plain_close_resets() -> None:
    with Running(Linearly()) as service:
        assert b"" in burst(service, service.port.stop_listening)


def test_a_deaf_socket_begins_no_connection_and_keeps_those_it_has() -> None:
    with bind("127.0.0.1", free_port()) as sock, socket.create_connection(sock.getsockname(), timeout=5) as early:
        deafen(sock)
        with pytest.raises(TimeoutError):
            socket.create_connection(sock.getsockname(), timeout=0.1)
        [accepted] = waiting(sock)
        with accepted:
            early.sendall(b"heard")
            accepted.settimeout(5)
            assert accepted.recv(9) == b"heard"


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_no_connection_that_was_made_is_reset_by_the_end(packed: Path, number: int, workers: int) -> None:
    """8 threads with a connection a request, and a signal: each is answered or refused."""
    settings = {"WHERRY_SERVE_WORKERS": str(workers), "WHERRY_SERVE_DRAIN_SECONDS": "0.3"}
    data = request("POST", "/predict", json.dumps(EXAMPLE).encode(), close=True)
    outcomes: list[str] = []

    def ask_until_refused(address: tuple[str, int]) -> None:
        while True:
            try:
                connection = socket.create_connection(address, timeout=5)
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(data)
                    outcomes.append("answered" if b" 200 OK" in connection.recv(65536) else "empty")
                except OSError as error:
                    outcomes.append(type(error).__name__)

    with child(packed, **settings) as service:
        threads = [threading.Thread(target=ask_until_refused, args=(service.address,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(outcomes) > 200)
        service.process.send_signal(number)
        for thread in threads:
            thread.join(20)
        assert service.process.wait(10) == 0
    assert set(outcomes) == {"answered"}
