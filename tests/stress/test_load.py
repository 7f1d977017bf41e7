"""Real load on a stand-in at 127.0.0.1: what is measured, and how each way of failing is named."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wherry.contract.events import Event, StressView, silent
from wherry.errors import ServiceUnreachable
from wherry.stress import outcomes
from wherry.stress import shape as shapes
from wherry.stress.load import run
from wherry.stress.plan import Ask, Plan, Target, asks_of, request
from wherry.stress.tally import Tally, percentile

Start = Callable[..., Any]
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX-Model-Digest: abc123\r\n\r\n{"prediction":1}'


def plan_for(target: Target, rate: float, seconds: float, **changes: Any) -> Plan:
    asks = changes.pop("asks", None) or asks_of(target, [b'{"a":1}'], {}, fresh=changes.get("fresh", False))
    return Plan(target, asks, shapes.constant(rate, seconds), changes.pop("count", 10**6), **changes)


def failures(tally: Tally) -> dict[str, int]:
    return {kind: int(counts.sum()) for kind, counts in tally.failed.items() if counts.any()}


def at(tally: Tally, share: float) -> float:
    found = percentile(tally.latency.sum(axis=0), share, float(tally.worst.max()))
    assert found is not None
    return found


# --- time


def closed_loop(port: int, seconds: float) -> list[float]:
    """The control: one client that waits for each answer before it asks again, timing each from its send."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found, end = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        connection.request("GET", "/predict")
        connection.getresponse().read()
        found.append(time.perf_counter() - begun)
    connection.close()
    return found


@pytest.mark.parametrize("seconds", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_a_pause_is_charged_for_all_who_would_have_come(stand_in: Start, seconds: int) -> None:
    """A service that stands still for a second shows it at p99; a closed loop asks once meanwhile, and hides it."""
    pause = threading.Event()

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number > 20 and not pause.is_set():
            pause.set()
            time.sleep(1.0)  # the whole service stands still, as in a collection of garbage
        writer.write(GOOD)

    service = stand_in(behave)
    control = closed_loop(service.port, 3.0)
    assert pause.is_set() and max(control) > 0.9
    assert statistics.quantiles(control, n=100)[98] < 0.1, "the control shows the pause: too few requests were made"
    pause.clear()
    tally = run(plan_for(service.target, 100, seconds), silent)
    assert failures(tally) == {}
    assert int(tally.ok.sum()) == 100 * seconds
    # those that came due during the pause waited from 0 to 1 s: in 30 s they are one in thirty, and p99 is 0.7 s
    assert at(tally, 99) > 0.6
    assert at(tally, 100 - 50 / seconds) > 0.3
    assert at(tally, 50) < 0.3


def test_each_second_offers_its_rate(stand_in: Start, good: Any) -> None:
    service = stand_in(good)
    tally = run(plan_for(service.target, 400, 3), silent)
    assert failures(tally) == {}
    assert service.requests == int(tally.ok.sum()) == 1200
    assert int(tally.lag.sum()) == 1200
    assert 3.0 <= tally.elapsed < 6
    per_second = tally.ok.reshape(3, -1).sum(axis=1)
    assert np.abs(per_second - 400).max() <= 2


def test_connections_are_kept_open(stand_in: Start, good: Any) -> None:
    service = stand_in(good)
    tally = run(plan_for(service.target, 200, 1, connections=3), silent)
    assert int(tally.ok.sum()) == 200
    assert tally.connections == service.connections <= 3


def test_or_opened_for_each_request(stand_in: Start, good: Any) -> None:
    service = stand_in(good)
    tally = run(plan_for(service.target, 200, 1, fresh=True), silent)
    assert int(tally.ok.sum()) == service.requests == 200
    assert service.connections >= 200
    assert all(b"Connection: close" in head for head in service.heads)


def test_bodies_rotate(stand_in: Start, good: Any) -> None:
    service = stand_in(good)
    asks = asks_of(service.target, [b"x" * size for size in (1, 22, 333)], {})
    run(plan_for(service.target, 90, 1, asks=asks, connections=1), silent)
    sizes = [head.split(b"Content-Length: ")[1].split(b"\r\n")[0] for head in service.heads]
    assert [sizes.count(size) for size in (b"1", b"22", b"333")] == [30, 30, 30]


def test_without_a_body_it_is_a_get() -> None:
    target = Target("127.0.0.1", 80, "/x?y=1")
    assert request(target, None, {}, False).startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert b"Content-" not in request(target, None, {}, False)


def test_no_more_than_the_count_is_sent(stand_in: Start, good: Any) -> None:
    service = stand_in(good)
    tally = run(plan_for(service.target, 500, 60, count=50), silent)
    assert service.requests == int(tally.ok.sum()) == 50
    assert tally.elapsed < 10


def test_a_full_pool_makes_requests_wait_and_their_wait_counts(stand_in: Start) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.05)
        writer.write(GOOD)

    service = stand_in(behave)
    tally = run(plan_for(service.target, 100, 1, connections=2), silent)
    assert int(tally.ok.sum()) == 100 and service.connections <= 2
    assert tally.waited > 30
    assert at(tally, 99) > 1.0  # a hundred times 50 ms over two connections take 2.5 s


def test_the_run_is_told_while_it_goes_on(stand_in: Start, good: Any) -> None:
    told: list[Event] = []
    run(plan_for(stand_in(good).target, 100, 1.3), told.append)
    views = [event for event in told if isinstance(event, StressView)]
    assert len(views) >= 2
    assert views[-1].sent == 130 and views[-1].failed == 0 and views[-1].in_flight == 0
    assert views[0].p99 is not None


# --- ends


def test_nobody_there_is_an_error_before_anything_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServiceUnreachable, match="nothing listens"):
        run(plan_for(Target("127.0.0.1", port, "/", address="127.0.0.1"), 10, 1), silent)


def test_the_first_interrupt_ends_it_with_what_is_known(stand_in: Start) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 40:
            os.kill(os.getpid(), signal.SIGINT)
        if number <= 40:
            writer.write(GOOD)

    service = stand_in(behave)
    begun = time.monotonic()
    tally = run(plan_for(service.target, 100, 60), silent)
    assert time.monotonic() - begun < 30
    assert tally.interrupted
    assert int(tally.ok.sum()) == 40
    assert failures(tally) == {}
    assert 40 <= service.requests <= 40 + tally.unfinished  # what was under way is counted apart
    with pytest.raises(KeyboardInterrupt):  # and the handler is the one from before again
        signal.raise_signal(signal.SIGINT)


# --- failures, each by its name


def answering(data: bytes, *, close: bool = False, abort: bool = False) -> Any:
    """Every third answer is `data`, then perhaps the end of the connection; the others are right."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number % 3:
            writer.write(GOOD)
            return
        writer.write(data)
        if abort:
            await writer.drain()
            writer.transport.abort()
        elif close:
            writer.close()

    return behave


CASES = {
    outcomes.RESET: answering(b"", close=True),
    outcomes.RESET_BODY: answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", close=True),
    outcomes.SERVER_ERROR: answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    outcomes.CLIENT_ERROR: answering(b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 2\r\n\r\nno"),
    outcomes.WRONG_ANSWER: answering(GOOD.replace(b":1}", b":2}")),
    outcomes.WRONG_VERSION: answering(GOOD.replace(b"abc123", b"abc124")),
    outcomes.NO_HTTP: answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    outcomes.TIMEOUT: answering(b""),
}


@pytest.mark.parametrize("kind", list(CASES))
def test_a_failure_is_named_and_nothing_is_repeated(kind: str, stand_in: Start) -> None:
    service = stand_in(CASES[kind])
    asks = (Ask(request(service.target, b"{}", {}, False), 1),)
    plan = plan_for(service.target, 60, 1, asks=asks, digest="abc123", timeout=1.0)
    tally = run(plan, silent)
    assert failures(tally) == {kind: 20}
    assert int(tally.ok.sum()) == 40
    assert service.requests == 60
    assert tally.remark.startswith(f"{kind}: ")
    assert int(tally.latency.sum()) == (60 if kind == outcomes.TIMEOUT else 40)


def test_a_right_service_has_no_failure(stand_in: Start) -> None:
    """The control of the cases above: the same plan, and every answer right."""
    service = stand_in(answering(GOOD))
    asks = (Ask(request(service.target, b"{}", {}, False), 1),)
    tally = run(plan_for(service.target, 60, 1, asks=asks, digest="abc123", timeout=1.0), silent)
    assert failures(tally) == {} and int(tally.ok.sum()) == 60


def test_a_service_that_goes_away_refuses(stand_in: Start) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(GOOD)
        if number == 20:
            threading.Thread(target=service.stop).start()

    service = stand_in(behave)
    tally = run(plan_for(service.target, 100, 1.5, timeout=2.0), silent)
    found = failures(tally)
    assert found[outcomes.REFUSED] > 50
    assert int(tally.ok.sum()) + sum(found.values()) == 150


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"pred\r\nA\r\niction":1}\r\n0\r\n\r\n',
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, id="interim"),
    ],
)
def test_other_right_forms_of_a_reply_are_read(data: bytes, stand_in: Start) -> None:
    service = stand_in(answering(data))
    asks = (Ask(request(service.target, b"{}", {}, False), 1),)
    tally = run(plan_for(service.target, 60, 0.5, asks=asks, timeout=2.0), silent)
    assert failures(tally) == {} and int(tally.ok.sum()) == 30


def test_a_reply_without_a_length_is_whole_when_its_connection_ends(stand_in: Start) -> None:
    service = stand_in(answering(b'HTTP/1.1 200 OK\r\n\r\n{"prediction":1}', close=True))
    asks = (Ask(request(service.target, b"{}", {}, False), 1),)
    tally = run(plan_for(service.target, 60, 0.5, asks=asks, timeout=2.0), silent)
    assert failures(tally) == {} and int(tally.ok.sum()) == 30


def test_numbers_are_compared_within_the_tolerance(stand_in: Start) -> None:
    body = b'{"prediction":1.0000000001}'
    near = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    service = stand_in(answering(near))
    asks = (Ask(request(service.target, b"{}", {}, False), 1.0),)
    close = run(plan_for(service.target, 30, 0.5, asks=asks, timeout=2.0, rtol=1e-6), silent)
    exact = run(plan_for(service.target, 30, 0.5, asks=asks, timeout=2.0, rtol=0.0, atol=0.0), silent)
    assert failures(close) == {}
    assert failures(exact) == {outcomes.WRONG_ANSWER: 5}
