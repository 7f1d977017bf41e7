"""Quick answers have ids that nobody else has, are given for a while, are counted, and leave nothing in memory."""

from __future__ import annotations

import contextlib
import gc
import itertools
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick_parts import BEGUN, DOUBT, FOREVER, PLACES, ROW, bare, block, class_in, small, with_told_clock

from wherry.server import quick
from wherry.server.ids import new_tail
from wherry.server.metrics import Metrics

module: Any = pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")

# --- ids --------------------------------------------------------------------------------------------------------------

IDS = re.compile(rb"X-Request-Id: ([0-9a-f-]{36})\r\nX-Prediction-Id: ([0-9a-f-]{36})\r\n")


def id_in(reply: bytes) -> str:
    found = IDS.search(reply)
    assert found is not None and found[1] == found[2]
    return found[1].decode()


def ids(one: Any, count: int) -> list[str]:
    """So many, as they come; where a millisecond has no more, of the next one."""
    found: list[str] = []
    while len(found) < count:
        if (reply := one.answer(ROW, 0.0)) is not None:
            found.append(id_in(reply))
    return found


def test_ids_are_of_version_7_and_of_now() -> None:
    one = small()
    before = time.time()
    for text in ids(one, 100):
        read = uuid.UUID(text)
        assert (read.version, read.variant, str(read)) == (7, uuid.RFC_4122, text)
        assert before - 0.002 <= (read.int >> 80) / 1000 <= time.time()


def test_ids_of_a_lease_are_in_order_and_those_of_others_are_others() -> None:
    one, other = small(), small()
    found = ids(one, 20_000)
    assert found == sorted(set(found))
    assert len({text[13:33] for text in found}) == 1, "of one lease all is the same but the time and the number"
    one.lease(BEGUN, new_tail().encode(), FOREVER)
    more = ids(one, 1000) + ids(other, 1000)
    assert len({*found, *more}) == 22_000
    assert len({text[13:33] for text in more}) == 2


def test_there_are_so_many_ids_in_a_millisecond_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "_quick", with_told_clock(tmp_path))
    metrics = Metrics()
    one = small(metrics=metrics)
    monkeypatch.setenv("TOLD_MS", "1700000000123")
    found = [id_in(one.answer(ROW, 0.0)) for _ in range(4096)]
    assert found == sorted(set(found))
    assert {int(text.replace("-", "")[:12], 16) for text in found} == {1700000000123}
    counted = metrics.board.read()
    assert one.answer(ROW, 0.0) is None and one.answer(ROW, 0.0) is None
    assert metrics.board.read() == counted, "what Python answers, it counts"
    monkeypatch.setenv("TOLD_MS", "1700000000124")
    assert id_in(one.answer(ROW, 0.0)) > found[-1]


def test_a_clock_that_is_set_back_gives_no_id_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "_quick", with_told_clock(tmp_path))
    one = small()
    found = []
    for moment in (1700000000123, 1700000000122, 1700000000123):
        monkeypatch.setenv("TOLD_MS", str(moment))
        found += [id_in(reply) for _ in range(3) if (reply := one.answer(ROW, 0.0)) is not None]
    assert len(found) == len(set(found))


# --- leases and counts ------------------------------------------------------------------------------------------------


def test_it_answers_while_it_has_a_lease() -> None:
    one = small()
    one.lease(BEGUN, new_tail().encode(), 50.0)
    assert one.until == 50.0
    assert one.answer(ROW, 49.999).startswith(BEGUN)
    assert one.answer(ROW, 50.0) is None and one.answer(ROW, 51.0) is None
    tail = new_tail()
    one.lease(b"HTTP/1.1 200 OK\r\nDate: later\r\nX-Request-Id: ", tail.encode(), 60.0)
    reply = one.answer(ROW, 51.0)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\nDate: later\r\nX-Request-Id: ")
    assert id_in(reply)[13:33] == tail
    one.lease(BEGUN, tail.encode(), 0.0)
    assert one.answer(ROW, 51.0) is None
    with pytest.raises(AttributeError):
        one.until = 99.0
    for wrong in ("", "x" * 19, "x" * 21):
        with pytest.raises(ValueError, match="20 characters stand"):
            one.lease(BEGUN, wrong.encode(), 99.0)
    for words in ((), (BEGUN,), ("text", tail.encode(), 1.0), (BEGUN, tail, 1.0), (BEGUN, tail.encode(), "1")):
        with pytest.raises(TypeError):
            one.lease(*words)


def test_without_a_lease_it_answers_nothing_and_a_request_that_goes_the_other_way_brings_one() -> None:
    begun = [BEGUN]
    replies: Any = SimpleNamespace(beginning=lambda port: begun[0])
    one = bare()
    assert one.answer(ROW, 0.0) is None and one.until == 0.0
    lent = quick.Leased(one, replies)

    def renew(started: float) -> None:
        exchange: Any = SimpleNamespace(started=started, connection=SimpleNamespace(port=None))
        lent.renew(exchange)

    renew(100.0)
    assert one.until == 100.0 + quick.LEASE
    first = id_in(one.answer(ROW, 100.1))
    begun[0] = b"later " + BEGUN
    renew(100.2)
    assert one.answer(ROW, 100.2).startswith(BEGUN), "while it lasts it is not renewed"
    assert one.answer(ROW, 100.25) is None
    renew(100.25)
    assert one.until == 100.25 + quick.LEASE
    reply = one.answer(ROW, 100.3)
    assert reply.startswith(b"later ") and id_in(reply)[13:33] != first[13:33]


def test_all_that_is_counted_is_counted_and_only_of_answers() -> None:
    metrics = Metrics()
    one = small(metrics=metrics)
    assert one.answer(DOUBT, 0.0) is None
    assert not any(metrics.board.read().values())
    for waited in (0.0, 0.003, 0.3, 100.0):
        assert one.answer(ROW, time.monotonic() - waited) is not None
    assert class_in(one.answer(block([0.5, 0.7]), time.monotonic())) == 0
    text = metrics.render(())
    for line in (
        'wherry_requests_total{door="native",status="200"} 5',
        'wherry_request_seconds_count{door="native"} 5',
        'wherry_request_seconds_bucket{door="native",le="30"} 4',
        'wherry_request_seconds_bucket{door="native",le="0.5"} 4',
        'wherry_request_seconds_bucket{door="native",le="0.25"} 3',
    ):
        assert re.search(re.escape(line) + r"$", text, re.MULTILINE), text
    counts = metrics.board.read()
    found = {name: value for name, value in counts.items() if "class=" in name}
    assert sorted(found.values()) == [1.0, 4.0]
    assert metrics.outside == 4, "3 is above 1, four times; 1 is not"
    assert metrics.cells[metrics.rows] == 5 and 0 < metrics.cells[metrics.seconds] < 1
    assert [metrics.cells[place] for place in metrics.batches.places] == [5.0, *[0.0] * 11, 5.0]
    assert 100.3 < counts['wherry_request_seconds|door="native"|sum'] < 101.5


# --- memory -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def blocks(times: int, what: Callable[[], Any], kept: list[Any] | None = None) -> int:
    """How many blocks of memory are left when `what` was done so many times."""
    for _ in range(10):
        what()
    before = sys.getallocatedblocks()
    for _ in itertools.repeat(None, times):
        found = what()
        if kept is not None:
            kept.append(found)
    del found
    return sys.getallocatedblocks() - before


def failing() -> None:
    for changed in (
        {"weights": b""},
        {"places": (-1, *PLACES[1:])},
        {"places": (2**70, *PLACES[1:])},
        {"counts": None},
        {"tails": (b"0", None)},
    ):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            bare(**changed)


def lined() -> None:
    one = module.Line()
    one.state, one.since, one.fresh, one.owed, one.held, one.writable = 0, 1.5, True, [], False, True
    one.write, one.ways = [].append, {}
    one.since, one.write = 2.5, one.owed.append
    del one.write
    with contextlib.suppress(AttributeError):
        one.data_received(b"it has nothing to be read by")


def test_nothing_is_left_of_answers_and_refusals() -> None:
    one = small()
    begun, tail = BEGUN + b"once", new_tail().encode()

    def raising(body: bytes) -> bytes:
        raise LookupError

    wrong, short = small(read=raising), small(read=lambda body: body[:8])

    def fail() -> None:
        for each in (wrong, short):
            with contextlib.suppress(LookupError, ValueError):
                each.answer(ROW, 0.0)

    with uncollected():
        held = (None, True, False, module.Quick, module.Line, bytes, begun, tail)
        references = [sys.getrefcount(each) for each in held]
        assert blocks(200_000, lambda: one.answer(ROW, 0.0)) < 100
        assert blocks(200_000, lambda: one.answer(DOUBT, 0.0)) < 100
        assert blocks(2_000, lambda: one.lease(begun, tail, FOREVER)) < 100
        assert blocks(2_000, fail) < 100
        assert blocks(2_000, bare) < 100
        assert blocks(2_000, failing) < 100
        assert blocks(2_000, lined) < 100
        more = [sys.getrefcount(each) - was for each, was in zip(held, references, strict=True)]
        assert max(map(abs, more)) < 500, more
        kept: list[Any] = []
        assert blocks(2_000, lambda: one.answer(ROW, 0.0), kept) >= 2_000  # the control: what is kept is seen
        assert blocks(2_000, bare, kept) >= 2_000


def test_what_it_holds_is_let_go_with_it() -> None:
    memory = bytearray(800)
    counts = memoryview(memory).cast("d")
    one = bare(counts=counts)
    with pytest.raises(BufferError):
        counts.release()
    del one
    counts.release()
    memory.append(0)


RING = """
import gc, struct
from wherry.server import _quick

class Reader:
    def read(self, body):
        return body

def ring():
    reader, cells = Reader(), struct.pack("2d", 1.0, -1.0)
    counts = memoryview(bytearray(800)).cast("d")
    ends = b"0", b"1"
    reader.one = _quick.Quick(reader.read, 0, cells, bytes(8), bytes(32), bytes(8), ends, b"", counts, tuple(range(11)))
    line = _quick.Line()
    line.ways = {b"": (reader.one, 1), b"line": line}
    line.owed = [line]
    line.write = line.data_received

gc.collect()
before = len(gc.get_objects())
for _ in range(500):
    ring()
gc.collect()
assert len(gc.get_objects()) < before + 100
"""


def test_what_leads_back_to_it_is_found_by_the_collector() -> None:
    """As all of a service that has ended, its counts included; in another process, which it may bring down."""
    done = subprocess.run([sys.executable, "-c", RING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
