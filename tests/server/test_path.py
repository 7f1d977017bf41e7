"""What a request costs in instructions and in memory, measured on the path itself: no sockets, no clock."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
from serving import EXAMPLE, linear_bundle

from wherry.server import quick

BENCH = Path(__file__).parents[2] / "bench"


def bench(name: str) -> Any:
    """A module of bench/."""
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def path() -> Any:
    return bench("path")


@pytest.fixture(scope="module")
def lone() -> Any:
    return bench("lone")


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered as it is read: everything goes through a batch."""
    monkeypatch.setattr(quick, "_quick", None)


def small(folder: Path) -> Path:
    """What the bench asks about, made without training anything."""
    linear_bundle(folder / "linear")
    (folder / "rows.jsonl").write_text("".join(json.dumps({**EXAMPLE, "area_se": 100.0 + k}) + "\n" for k in range(20)))
    return folder


def after_a_turn(path: Any, lone: Any, folder: Path, kind: str) -> tuple[list[float], bytes]:
    """What a request that comes alone has asked the loop's clock for, and its reply, one turn after it was read."""

    clocks: list[float] = []

    class Loop(path.Turn):
        def call_later(self, seconds: float, *_: Any) -> None:
            clocks.append(seconds)

    loop, sink = Loop(), path.Sink()
    connection = lone.made(folder / "linear", loop, lone.KINDS[kind])
    connection.connection_made(sink)
    body = (folder / "rows.jsonl").read_text().splitlines()[0]
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}"
    request = f"{head}\r\nContent-Type: application/json\r\n\r\n{body}".encode()
    clocks.clear()  # but for the port's own
    for _ in range(2):  # the first time its header is read, the second looked up
        sink.last = b""
        connection.data_received(request)
        assert sink.last == b"", "others that are read in this turn are scored with it"
        calls, loop.waiting = loop.waiting, []
        for call, given in calls:
            call(*given)
        assert loop.waiting == []
    return clocks, sink.last


@pytest.mark.usefixtures("batched")
def test_a_request_that_comes_alone_waits_for_no_company(path: Any, lone: Any, tmp_path: Path) -> None:
    """It is answered in the next turn of the loop, and no clock is set."""
    folder = small(tmp_path)
    clocks, reply = after_a_turn(path, lone, folder, "as it is")
    assert clocks == []
    assert reply.startswith(b"HTTP/1.1 200 OK")
    clocks, reply = after_a_turn(path, lone, folder, "waits for company")
    assert (clocks, reply) == ([lone.COMPANY], b"")


@pytest.mark.usefixtures("batched")
def test_batching_costs_a_request_that_comes_alone_next_to_nothing(lone: Any, tmp_path: Path) -> None:
    found = uvloop.run(lone.measured(small(tmp_path), rounds=3))
    print(found)
    assert found["as it is"] - found["no batching"] < 200, "microseconds, on whatever machine this is"
    assert found["waits for company"] - found["no batching"] > 900


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.timeout(900)
def test_an_eighth_more_work_is_seen(path: Any, tmp_path: Path) -> None:
    folder = small(tmp_path)
    first = path.instructions(folder, "wherry", 0.0)
    slower = path.instructions(folder, "wherry", 0.125)  # 8 of 64 connections ask twice
    assert path.MORE < slower / first < 1.16
    print(f"instructions a request of 6 columns: {first:,.0f}, with an eighth more {slower:,.0f}")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_after_many_requests_is_that_after_few(path: Any, tmp_path: Path) -> None:
    """T36, P9: within 2 %. The short form asks 200,000 times; WHERRY_TEST_REQUESTS=1000000 the long one."""
    folder, many = small(tmp_path), int(os.environ.get("WHERRY_TEST_REQUESTS", "200000"))
    growth = path.growth(folder, many, leaves=0)
    print(f"T36: {growth:+.2%} between 10,000 and {many:,} requests")
    assert growth < 0.02

    leaking = path.growth(folder, many, leaves=200)
    print(f"T36: {leaking:+.2%} where each request leaves 200 bytes")
    assert leaking > 0.02


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="resident memory is read from /proc")
def test_memory_of_workers_and_their_supervisor_stays(tmp_path: Path) -> None:
    """T36: requests of mixed sizes, a worker killed now and then. The long form is bench/start.py --requests."""
    start, folder = bench("start"), small(tmp_path)
    most = 3 * start.RISE  # processes so young still fill what they have allocated
    found = start.soak(folder / "linear", folder / "rows.jsonl", 75_000, workers=2, every=25_000)
    print(found)
    assert max(found.values()) < most
    leaking = start.soak(folder / "linear", folder / "rows.jsonl", 75_000, workers=2, every=25_000, leaves=2000)
    print(leaking)
    assert min(leaking.values()) > most, "each of them: what workers keep, and what their supervisor does"
