"""Services with quick answers: nobody can tell them from others, and every last reply says that it is the last."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from quick_parts import NONE, ONE, known, post, received, scorer
from serving import NAMES, Running, replies, request, until

from wherry.server import quick

pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
DATE = re.compile(rb"\r\nDate: ([^\r]*)")
OVERFLOWS = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
LOOPS = pytest.mark.parametrize("make", [None, asyncio.new_event_loop], ids=["uvloop", "asyncio"])


FLAWLESS: list[object] = [
    ONE,
    NONE,
    *({name: value * share for name, value in ONE.items()} for share in (0.1, 0.31, 0.7, 3.3, 20.0)),
    dict(reversed(ONE.items())),
    dict.fromkeys(NAMES, 1),
    {**ONE, "area_se": -4, "area_worst": 2**53 + 1},
    json.dumps(ONE, separators=(",", ":")).encode(),
    b" \r\n" + json.dumps(ONE, indent=2).encode() + b"\n",
    json.dumps(ONE).replace("153.4", "1.534e2").encode(),
    json.dumps(ONE).replace("2019.0", "2019E+0").encode(),
]
DOUBTFUL: list[object] = [
    json.dumps(NONE).replace("0.25", "-0.0").encode(),
    {**dict.fromkeys(NAMES, 0), NAMES[0]: 1.5},  # the sum is 0
    {**dict.fromkeys(NAMES, 0), NAMES[0]: 1.5000000000000002},
    {**dict.fromkeys(NAMES, 0), NAMES[1]: 1e300, NAMES[0]: -1.5e300},
    {**NONE, NAMES[0]: 5e-324},  # which the reader leaves to others, as what is written so is rare
    {**NONE, NAMES[0]: -1e308},  # no number
    {**NONE, NAMES[0]: 1e308, NAMES[1]: 1e308},
    {**NONE, NAMES[0]: 1e308, NAMES[1]: -1e308},
    {**ONE, NAMES[0]: 2**70},
    {**ONE, "more": 1},
    {**ONE, NAMES[0]: "1"},
    {**ONE, NAMES[0]: None},
    {**ONE, NAMES[0]: True},
    {**ONE, NAMES[0]: float("nan")},
    {**ONE, NAMES[0]: float("inf")},
    dict(list(ONE.items())[1:]),
    {},
    [],
    [ONE],
    [ONE, NONE, ONE],
    [list(ONE.values())],
    {"columns": NAMES, "rows": [list(ONE.values())]},
    "text",
    None,
    b"",
    b"{",
    b"\xef\xbb\xbf" + json.dumps(ONE).encode(),
    json.dumps(ONE).encode() + b"x",
    json.dumps(ONE)[:-1].encode() + b', "area_se": 1}',
    json.dumps(ONE).replace("153.4", "1e400").encode(),
    json.dumps(ONE).replace("area_se", "area\\u005fse").encode(),
    json.dumps(ONE).replace("area_se", "area_s\xff").encode("latin-1"),
]
OTHERS: list[bytes] = [
    request("POST", "/predict?probabilities=true", json.dumps(ONE).encode()),
    request("POST", "/predict?probabilities=perhaps", json.dumps(ONE).encode()),
    *(
        post(ONE, **headers)
        for headers in (
            {"X-Request-Id": "mine"},
            {"X-Request-Id": "a line\tof text"},
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            {"Accept": "application/vnd.wherry.native+json"},
            {"Accept": "*/*"},
            {"Content-Type": "application/json; charset=utf-8"},
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/json; charset=latin-1"},
            {"Connection": "keep-alive"},
            {"X-Wherry-No-Store": "1"},
            {"Host": "elsewhere.example"},
            {"Cookie": "a=b"},
        )
    ),
    request("GET", "/predict?" + "&".join(f"{name}={value}" for name, value in ONE.items())),
    request("POST", "/invocations", json.dumps({"dataframe_records": [ONE]}).encode()),
    request("PUT", "/predict", json.dumps(ONE).encode()),
    request("GET", "/livez"),
    request("GET", "/nowhere"),
]
ENDING: list[bytes] = [
    post(ONE, **{"Content-Encoding": "gzip"}),
    post(ONE, Connection="close"),
    post(ONE).replace(b"HTTP/1.1", b"HTTP/1.0"),
    post(ONE).replace(b"Content-Length: ", b"Content-Length: +"),
    post(ONE, **{"Transfer-Encoding": "chunked"}),
    post(ONE).replace(b"Host: 127.0.0.1\r\n", b""),
    post(ONE).replace(b"POST ", b"POST\t"),
]


def told(reply: bytes) -> bytes:
    """A reply but for its date and for ids, which are those of now, and new."""
    dates = DATE.findall(reply)
    assert len(dates) == 1 and abs(parsedate_to_datetime(dates[0].decode()).timestamp() - time.time()) < 3
    ids = UUID.findall(reply)
    assert all(abs(int(each.replace(b"-", b"")[:12], 16) / 1000 - time.time()) < 3 for each in ids)
    return UUID.sub(b"ID", DATE.sub(b"\r\nDate: now", reply))


def conversation() -> tuple[list[tuple[bytes, bytes]], str]:
    """What a service is asked, and what it says to that; and what it counted."""
    asked = [*map(post, FLAWLESS), *map(post, DOUBTFUL), *OTHERS]
    said: list[tuple[bytes, bytes]] = []
    with Running(scorer()) as service:
        with socket.create_connection(service.address, timeout=10) as sock:
            known(sock)
            for data in asked:
                for _ in range(2):
                    sock.sendall(data)
                    said.append((data, told(received(sock)[0])))
        several = [socket.create_connection(service.address, timeout=10) for _ in range(3)]
        for data in asked:
            for sock in several:  # one by one: rows without an answer are scored again where they came with others
                sock.sendall(data)
                said.append((data, told(received(sock)[0])))
        for sock in several:
            sock.close()
        for data in ENDING * 2:
            with socket.create_connection(service.address, timeout=10) as sock:
                sock.sendall(data)
                said.append((data, told(sock.makefile("rb").read())))
        service.predictions.look()
        return said, service.metrics.render(())


def countable(text: str) -> list[str]:
    """The lines of /metrics but for those that say how long something took, or how many rows came together."""
    timed = re.compile(r"wherry_(request|model|step)_seconds_(sum|total)|wherry_request_seconds_bucket.*le=\"[0-9]")
    batches = re.compile(r"wherry_batch_rows_(bucket|count)")
    return [line for line in text.splitlines() if not timed.match(line) and not batches.match(line)]


@OVERFLOWS
@pytest.mark.usefixtures("long_leases")
def test_nobody_can_tell_who_answered(monkeypatch: pytest.MonkeyPatch, reads: list[bytes]) -> None:
    one, counted = conversation()
    asked, read = [data for data, _ in one], list(reads)
    for record in FLAWLESS:
        most = 2 if record is ONE else 1  # the first of its header, and one that brought the lease
        assert read.count(post(record)) <= most < asked.count(post(record)), f"{record!r} is no longer Python's"
    for record in DOUBTFUL:
        assert read.count(post(record)) == asked.count(post(record)) == 5, f"{record!r} is Python's each time"
    assert len(asked) - len(read) > 4 * len(FLAWLESS)

    reads.clear()
    monkeypatch.setattr(quick, "_quick", None)
    other, also = conversation()
    assert len(reads) == len(asked) + 3, "without it, all is read by Python"
    for (data, quickly), (_, plainly) in zip(one, other, strict=True):
        assert quickly == plainly, data
    assert {reply[9:12] for _, reply in one} >= {b"200", b"400", b"404", b"405", b"415", b"421", b"422"}
    assert countable(counted) == countable(also)
    assert len(countable(counted)) > 40


@OVERFLOWS
@pytest.mark.usefixtures("long_leases")
def test_the_control_a_reply_that_is_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = quick.leased

    def with_another_line(*args: Any) -> Any:
        monkeypatch.setattr(quick, "BETWEEN", b"\r\nx-prediction-id: ")
        return made(*args)

    right, _ = conversation()
    monkeypatch.setattr("wherry.server.predictions.leased", with_another_line)
    wrong, _ = conversation()
    assert [reply for _, reply in right] != [reply for _, reply in wrong]


# --- leases, and the end ----------------------------------------------------------------------------------------------


def test_a_busy_connection_is_told_the_time(reads: list[bytes]) -> None:
    dates, tails, asked = set(), set(), 0
    with Running(scorer()) as service, socket.create_connection(service.address, timeout=10) as sock:
        data = known(sock)
        reads.clear()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            sock.sendall(data)
            reply = received(sock)[0]
            date = parsedate_to_datetime(DATE.findall(reply)[0].decode()).timestamp()
            assert -0.1 < time.time() - date < 1 + 0.25 + quick.LEASE + 0.5
            dates.add(date)
            tails.add(UUID.findall(reply)[0][13:33])
            asked += 1
    assert len(dates) >= 2
    assert 4 <= len(reads) < asked / 4, "a request of each lease goes the other way"
    assert len(tails) >= 4


@LOOPS
@pytest.mark.usefixtures("long_leases")
def test_every_reply_says_that_it_is_the_last(make: Callable[[], Any] | None, reads: list[bytes]) -> None:
    with Running(scorer(), loop=make and make()) as service:
        socks = [socket.create_connection(service.address, timeout=10) for _ in range(4)]
        for sock in socks:
            data = known(sock)
        reads.clear()
        for sock in socks:
            sock.sendall(data)
            assert b"Connection: close" not in received(sock)[0]
        assert not reads and service.port.ways
        ended = threading.Event()

        def end() -> None:
            service.port.closing = True
            ended.set()

        service.loop.call_soon_threadsafe(end)
        assert ended.wait(5)
        for sock in [*socks, *(socket.create_connection(service.address, timeout=10) for _ in range(2))]:
            with sock:
                sock.sendall(data)
                found = replies(sock.makefile("rb").read())
                assert [(answer.status, answer.headers.get("connection")) for answer in found] == [(200, "close")]
        assert not service.port.ways


@LOOPS
@pytest.mark.usefixtures("long_leases")
def test_connections_that_ask_on_are_all_told(make: Callable[[], Any] | None) -> None:
    """Four clients ask without a pause: whoever is answered after the end began is told, and nobody is left waiting."""
    found: list[list[bool]] = [[] for _ in range(4)]

    def ask_on(place: int, address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=10) as sock:
            while not any(found[place]):
                sock.sendall(post(ONE))
                found[place].append(b"Connection: close" in received(sock)[0])

    with Running(scorer(), loop=make and make()) as service:
        threads = [threading.Thread(target=ask_on, args=(place, service.address)) for place in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: min(map(len, found)) > 50)
        service.loop.call_soon_threadsafe(setattr, service.port, "closing", True)
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    assert all(each[-1] for each in found)
