"""Several workers behind one port: they die, hang and are all busy, and the service goes on and says what is so."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import EXAMPLE, Child, ask, child, linear_bundle, parse, predict, request, until

from wherry.contract import names
from wherry.server.board import CELLS, Board, total
from wherry.server.crew import Report
from wherry.server.metrics import Metrics, render
from wherry.server.slot import FRESH, Slot

BODY = json.dumps(EXAMPLE).encode()
RESPAWN = (
    6.0  # seconds until a worker that died is replaced, at most; 2 is the aim, on a machine that does nothing else
)
LONG = os.environ.get("WHERRY_TEST_LONG") == "1"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_bundle(tmp_path_factory.mktemp("supervised") / "bundle")


def workers_of(service: Child) -> list[int]:
    """The processes that answer, by their parent."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == service.process.pid and fields[0] != "Z":
                found.append(int(entry.name))
    return sorted(found)


@contextlib.contextmanager
def crew(packed: Path, count: int = 2, **environ: str) -> Iterator[Child]:
    """A service with several workers, every one of them ready; a worker that was stopped is let go at the end."""
    environ = {"WHERRY_SERVE_DRAIN_SECONDS": "0", "WHERRY_SERVE_WORKERS": str(count), **environ}
    with child(packed, **environ) as service:
        until(lambda: metric(service, names.METRIC_WORKERS) == count, what=lambda: service.said)
        left = workers_of(service)
        try:
            yield service
        finally:
            left = sorted({*left, *workers_of(service)})
            service.process.kill()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def metric(service: Child, name: str) -> float:
    """The sum of a metric over its labels; -1 while nobody answers."""
    try:
        text = ask(service.admin, "GET", "/metrics").body.decode()
    except OSError:
        return -1.0
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


class Load:
    """Requests at a steady pace from several threads, each on a connection that is opened again when it breaks."""

    def __init__(self, service: Child, threads: int = 4, pause: float = 0.02) -> None:
        self.service, self.pause = service, pause
        self.good = self.reset = self.wrong = 0
        self.longest = 0.0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self) -> None:
        connection = http.client.HTTPConnection(*self.service.address, timeout=10)
        while not self.ended.wait(self.pause):
            start = time.monotonic()
            try:
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                right = answer.status == 200 and json.loads(answer.read()) == {"prediction": 1}
                self.good, self.wrong = self.good + right, self.wrong + (not right)
            except (OSError, http.client.HTTPException):
                self.reset += 1
                connection.close()
            self.longest = max(self.longest, time.monotonic() - start)
        connection.close()

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def test_two_workers_tell_once_and_count_together(packed: Path) -> None:
    with crew(packed) as service:
        pids = workers_of(service)
        assert len(pids) == 2
        with Load(service):
            until(lambda: metric(service, names.METRIC_REQUESTS) >= 40)
        asked = metric(service, f"{names.METRIC_REQUESTS}")
        assert metric(service, f"{names.METRIC_LATENCY}_count") == asked
        assert metric(service, names.METRIC_ROWS) == asked - metric_of_probes(service)
        assert service.said.count("8 golden rows answered") == 1
        assert re.search(r"workers   2, each of which adds up to \d+ MiB of its own", service.said)
        assert ask(service.admin, "GET", "/livez").status == 200
        assert ask(service.admin, "GET", "/readyz").json == {"status": "ready"}
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
        assert service.said.count("stopping (SIGTERM)") == 1
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def metric_of_probes(service: Child) -> float:
    text = ask(service.admin, "GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if 'requests_total{door="other"' in line)


def test_workers_are_killed_and_replaced_and_no_count_is_lost(packed: Path) -> None:
    """T03: `kill -9` of a worker every 1.2 s under load; the long form every 2 s for a minute."""
    with crew(packed) as service, Load(service) as load:
        (kills, pace), took = (30, 2.0) if LONG else (5, 1.2), []
        chance = random.Random(3)
        for _ in range(kills):
            before = metric(service, names.METRIC_REQUESTS)
            os.kill(chance.choice(workers_of(service)), signal.SIGKILL)
            start = time.monotonic()
            until(lambda: metric(service, names.METRIC_REPLACED) == len(took) + 1)
            assert ask(service.admin, "GET", "/readyz").status == 200, "the other one answers"
            until(lambda: metric(service, names.METRIC_WORKERS) == 2)
            took.append(time.monotonic() - start)
            assert metric(service, names.METRIC_REQUESTS) >= before
            time.sleep(max(0.0, start + pace - time.monotonic()))  # the pace of the experiment
        load.ended.set()
        for thread in load.threads:
            thread.join()
        assert max(took) < RESPAWN
        assert load.good > 100
        assert load.wrong == 0
        assert load.reset <= kills * len(load.threads), "only those that the killed worker had in hand"
        assert load.longest < 5
        assert metric(service, names.METRIC_REPLACED) == kills
        # Every answer that arrived was counted, also by those that are gone; those cut off may be counted or not.
        counted = metric(service, names.METRIC_ROWS)
        assert load.good <= counted <= load.good + load.reset
        most = f"{sorted(took)[int(0.95 * kills)]:.2f} s (p95), {max(took):.2f} at most"
        print(
            f"T03: {load.good} answered within {load.longest:.2f} s, {load.reset} reset by {kills}, replaced in {most}"
        )


@pytest.mark.parametrize("answering", [False, True])
def test_a_worker_that_is_killed_while_others_start_is_replaced_once_one_has_answered(
    answering: bool, packed: Path
) -> None:
    service = Child(packed, {"WHERRY_SERVE_WORKERS": "2", "WHERRY_SERVE_DRAIN_SECONDS": "0"})
    try:
        until(lambda: len(workers_of(service)) == 2, what=lambda: service.said)
        first, late = workers_of(service)
        os.kill(late, signal.SIGSTOP)  # while it still imports, or proves itself
        until(lambda: metric(service, names.METRIC_WORKERS) == 1, what=lambda: service.said)
        os.kill(first if answering else late, signal.SIGKILL)
        if answering:
            os.kill(late, signal.SIGCONT)
        until(lambda: "was ended by signal 9; another takes its place" in service.said, what=lambda: service.said)
        until(lambda: metric(service, names.METRIC_WORKERS) == 2, seconds=60, what=lambda: service.said)
    finally:
        service.process.kill()
        service.process.wait()
        service.log.close()


def test_a_service_of_one_process_is_gone_when_it_is_killed(packed: Path) -> None:
    """T03's negative control: nobody keeps the port open."""
    with child(packed) as service:
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(10)
        with pytest.raises(ConnectionRefusedError):
            predict(service.address, EXAMPLE)


def test_readiness_never_lies_when_every_worker_is_killed_at_once(packed: Path) -> None:
    """T04: not ready within a second, and ready again only with a worker that answers."""
    with crew(packed) as service:
        pids = workers_of(service)
        start = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        seen: list[int] = []
        lied, end = 0.0, start + 15
        while time.monotonic() < end and not (503 in seen and seen[-1] == 200):
            seen.append(ask(service.admin, "GET", "/readyz").status)
            if 503 not in seen:
                lied = time.monotonic() - start
            assert ask(service.admin, "GET", "/livez").status == 200
        assert lied < 2
        # A connection that nobody accepted yet waits for the replacement.
        assert predict(service.address, EXAMPLE).status == 200
        assert seen[-1] == 200
        until(lambda: metric(service, names.METRIC_WORKERS) == 2)
        print(
            f"T04: ready for {lied:.3f} s without a worker, {seen.count(503)} of {len(seen)} probes said 503, and again"
            f" after {time.monotonic() - start:.2f} s"
        )
        assert set(workers_of(service)).isdisjoint(pids)


def test_with_no_worker_alive_it_is_not_ready_and_connections_wait(packed: Path) -> None:
    """T04's other half, as a unit: readiness is computed from live workers alone."""
    slot = Slot(0)
    now = time.monotonic()
    assert not slot.ready(now)
    slot.started()
    slot.filled(os.getpid(), -1)
    assert not slot.ready(now), "started is not ready"
    slot.ready_since = now
    assert slot.ready(now)
    assert not slot.ready(now + FRESH + 1), "nothing was seen of it for too long"
    slot.emptied()
    assert not slot.ready(now)


def test_a_worker_that_dies_at_once_is_started_again_ever_more_slowly() -> None:
    slot = Slot(0)
    waits = []
    for _ in range(8):
        slot.filled(1, -1)
        slot.emptied()
        waits.append(slot.wait)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    slot.filled(1, -1)
    slot.ready_since = time.monotonic() - 2
    slot.emptied()
    assert slot.wait == 0


def test_a_worker_that_hangs_is_replaced(packed: Path) -> None:
    """T39: SIGSTOP, with a budget of two seconds, or 30. What waits unaccepted is answered by the replacement."""
    budget = 30 if LONG else 2
    with crew(packed, 2, WHERRY_SERVE_HANG_SECONDS=str(budget)) as service:
        for pid in workers_of(service):
            os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        with socket.create_connection(service.address, timeout=budget + 20) as waiting:
            waiting.sendall(request("POST", "/predict", BODY, close=True))
            assert ask(service.admin, "GET", "/livez").status == 200, "the supervisor answers meanwhile"
            # The control: the workers themselves do not.
            with socket.create_connection(service.address, timeout=0.3) as control, pytest.raises(TimeoutError):
                control.sendall(request("GET", "/livez"))
                control.recv(1)
            until(lambda: metric(service, names.METRIC_REPLACED) == 2, seconds=budget + 10, what=lambda: service.said)
            took = time.monotonic() - start
            assert budget - 0.5 < took < budget + 4
            with contextlib.suppress(ConnectionResetError):  # a stopped worker may have had it
                data = waiting.makefile("rb").read()
                assert data == b"" or parse(data)[0].status == 200
        until(lambda: metric(service, names.METRIC_WORKERS) == 2)
        assert predict(service.address, EXAMPLE).status == 200
        assert "did nothing for too long" in service.said
        print(f"T39: replaced after {took:.2f} s, budget {budget} s")


def test_a_worker_that_only_pauses_is_left_alone(packed: Path) -> None:
    """T39's negative control: shorter than its budget."""
    with crew(packed, WHERRY_SERVE_HANG_SECONDS="30") as service:
        pids = workers_of(service)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)  # what is tested is that nothing happens
        assert ask(service.admin, "GET", "/livez").status == 200
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        assert predict(service.address, EXAMPLE).status == 200
        assert workers_of(service) == pids
        assert metric(service, names.METRIC_REPLACED) == 0


def test_liveness_holds_while_every_worker_is_busy(packed: Path) -> None:
    """T40: as much as can be asked, for 2.5 s or 20, and the admin port answers every probe."""
    with crew(packed) as service, Load(service, threads=12, pause=0.0) as load:
        until(lambda: load.good > 100)
        failed, slowest, probes = 0, 0.0, 0
        end = time.monotonic() + (20 if LONG else 2.5)
        while time.monotonic() < end:
            start = time.monotonic()
            failed += ask(service.admin, "GET", "/livez").status != 200
            failed += ask(service.admin, "GET", "/readyz").status != 200
            slowest, probes = max(slowest, time.monotonic() - start), probes + 2
        assert failed == 0
        assert slowest < 5
        assert metric(service, names.METRIC_REPLACED) == 0
        print(f"T40: none of {probes} probes failed, two took {slowest:.3f} s at most, {load.good} requests meanwhile")
    assert load.wrong == load.reset == 0


def test_ctrl_c_from_the_terminal_reaches_everybody_once(packed: Path) -> None:
    with crew(packed) as service:
        pids = workers_of(service)
        for pid in pids:  # a terminal sends it to every process of the group
            os.kill(pid, signal.SIGINT)
        assert predict(service.address, EXAMPLE).status == 200
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(10) == 0
        assert service.said.count("stopping (Ctrl-C)") == 1


def test_workers_do_not_outlive_a_supervisor_that_was_killed(packed: Path) -> None:
    with crew(packed) as service:
        pids = workers_of(service)
        service.process.kill()
        until(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_model_that_answers_otherwise_is_told_once_and_nothing_is_served(packed: Path, tmp_path: Path) -> None:
    from wherry.model import bundle

    manifest = bundle.read_manifest(packed)
    files = {name: (packed / name).read_bytes() for name in manifest.files}
    golden = json.loads(files["golden.json"])
    golden["predictions"][0] = 1 - golden["predictions"][0]
    files["golden.json"] = json.dumps(golden).encode()
    bundle.write(tmp_path / "other", manifest, files)
    service = Child(tmp_path / "other", {"WHERRY_SERVE_WORKERS": "2"})
    try:
        assert service.process.wait(20) == 1
        assert service.said.count("golden") >= 1
        assert "Traceback" not in service.said
    finally:
        service.log.close()


@pytest.mark.parametrize("group", [0, 1])
def test_each_worker_keeps_what_it_answered(packed: Path, tmp_path: Path, group: int) -> None:
    """T35: out of memory, the kernel ends one worker or, with memory.oom.group, the whole container: no row is lost."""
    sqlite3 = pytest.importorskip("sqlite3", reason="needs sqlite3")
    folder = shutil.copytree(packed, tmp_path / "bundle")
    keeping = {"WHERRY_STORE_ENABLED": "true", "WHERRY_STORE_URL": f"sqlite:///{tmp_path / 'kept.sqlite'}"}
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(crew(folder, **keeping))
        for _ in range(20):
            assert predict(service.address, EXAMPLE).status == 200
        if group:
            for pid in (service.process.pid, *workers_of(service)):
                os.kill(pid, signal.SIGKILL)
            service.process.wait()
            service = stack.enter_context(crew(folder, **keeping))  # as the kubelet starts the container again
        else:
            os.kill(workers_of(service)[0], signal.SIGKILL)
            until(lambda: metric(service, names.METRIC_REPLACED) == 1)
            until(lambda: metric(service, names.METRIC_WORKERS) == 2, what=lambda: service.said)
        for _ in range(20):
            assert predict(service.address, EXAMPLE).status == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0, service.said
        with contextlib.closing(sqlite3.connect(tmp_path / "kept.sqlite")) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            table = next(name for name in tables if "prediction" in name)
            assert database.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (40,)


# The board


def test_counts_are_shared_with_a_forked_process_and_outlive_it() -> None:
    board = Board()
    metrics = Metrics(board)
    metrics.answered("native", 200, (0.001,))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # the child does next to nothing, whatever threads there are
        pid = os.fork()
    if pid == 0:
        metrics.answered("native", 200, (0.002, 0.003))
        metrics.answered("query", 422, (0.001,))
        os._exit(0)
    os.waitpid(pid, 0)
    heir = Metrics(board)  # counts on
    heir.answered("query", 422, (0.5,))
    text = render(total([board, Board()]), [])
    assert 'wherry_requests_total{door="native",status="200"} 3' in text
    assert 'wherry_requests_total{door="query",status="422"} 2' in text
    assert 'wherry_request_seconds_bucket{door="query",le="0.25"} 1' in text
    assert 'wherry_request_seconds_count{door="query"} 2' in text


def test_a_board_has_room_for_so_many_names_and_says_so() -> None:
    board = Board()
    for index in range(CELLS):
        board.place(f"name {index}")
    assert board.place("name 7") == 7
    with pytest.raises(ValueError, match="no room"):
        board.place("one more")
    assert len(board.read()) == CELLS


def test_reports_survive_their_way() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    slot = Slot(0)
    slot.filled(1, read)
    try:
        assert slot.read() == []
        from wherry.contract.events import Note
        from wherry.server.crew import Line

        Line(write).tell(Note("a \n line", warn=True, hint="b"))
        Line(write).send(Report("ready", memory=3))
        assert slot.read() == [Report("told", "a \n line", True, "b"), Report("ready", memory=3)]
    finally:
        os.close(read)
        os.close(write)
