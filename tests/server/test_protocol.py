"""HTTP/1.1 as bytes: framing, order, limits, clocks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from serving import (
    EXAMPLE,
    NAMES,
    Fake,
    Linearly,
    Running,
    parse,
    predict,
    raw,
    replies,
    request,
    until,
)

from wherry.contract.wire import Outputs, Row
from wherry.server.heads import Way
from wherry.server.limits import Limits
from wherry.server.port import SOONEST, TICK, Port
from wherry.server.protocol import TOGETHER, Connection

BODY = json.dumps(EXAMPLE).encode()
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
LAST = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def service(request: pytest.FixtureRequest) -> Iterator[Running]:
    loop = asyncio.new_event_loop() if request.param == "asyncio" else None
    with Running(Linearly(), loop=loop) as running:
        yield running


def test_a_chunked_body_is_read(service: Running) -> None:
    data = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked(BODY)
    assert parse(raw(service.address, data))[0].json == {"prediction": 1}


def test_a_request_that_comes_byte_by_byte_is_read(service: Running) -> None:
    with socket.create_connection(service.address) as sock:
        for byte in request("POST", "/predict", BODY, close=True):
            sock.sendall(bytes((byte,)))
        assert parse(sock.makefile("rb").read())[0].json == {"prediction": 1}


class Client:
    """A connection without a socket: what it was sent, and whether it is read from."""

    def __init__(self, port: Port) -> None:
        self.sent, self.reading, self.connection = b"", True, Connection(port)
        self.connection.connection_made(cast(Any, self))

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def test_one_connection_with_many_requests_lets_the_others_ask_in_between() -> None:
    """A few in each turn of the loop, whatever came in one packet; and they are read on to the end."""
    turn: list[Any] = []
    loop: Any = SimpleNamespace(call_soon=lambda call: turn.append(call))
    site: Any = SimpleNamespace(receive=lambda exchange: exchange.answer(200, b"", exchange.url))
    greedy = Client(Port(site, Limits(), loop))
    turns = [0]
    greedy.connection.data_received(b"".join(request("GET", f"/{k}") for k in range(20)))
    while not greedy.reading:
        turns.append(len(replies(greedy.sent)))
        turn.pop(0)()
    assert [answer.body for answer in replies(greedy.sent)] == [b"/%d" % k for k in range(20)]
    assert all(0 < later - before <= TOGETHER for before, later in pairwise(turns))


def test_a_connection_that_asked_for_all_it_may_and_was_answered_at_once_is_read_again() -> None:
    turn: list[Any] = []
    waiting: list[Any] = []
    loop: Any = SimpleNamespace(call_soon=lambda call: turn.append(call))
    site: Any = SimpleNamespace(receive=waiting.append)
    client = Client(Port(site, Limits(owed=2), loop))
    client.connection.data_received(4 * request("GET", "/"))
    for _ in range(2):
        while turn:
            turn.pop(0)()
        assert (len(waiting), client.reading) == (2, False)
        while waiting:
            waiting.pop().answer(200, b"", b"")
    while turn:
        turn.pop(0)()
    assert client.reading
    assert len(replies(client.sent)) == 4


@pytest.mark.parametrize(("passed", "wait"), [(0.7, 0.25), (0.9, 0.1), (0.999, SOONEST)])
def test_clocks_are_looked_at_when_the_time_of_a_request_ends(passed: float, wait: float) -> None:
    waits: list[float] = []
    loop: Any = SimpleNamespace(call_later=lambda seconds, call: waits.append(seconds))
    site: Any = SimpleNamespace(receive=lambda exchange: None, way=lambda exchange: Way(exchange))
    port = Port(site, Limits(request_seconds=1.0), loop)
    port.now = lambda: 100.0
    client = Client(port)
    port.sweep()
    client.connection.data_received(request("GET", "/"))
    port.now = lambda: 100.0 + passed
    port.sweep()
    assert waits == pytest.approx([TICK, wait])


def test_what_came_before_the_end_of_a_connection_is_answered(service: Running) -> None:
    assert len(replies(raw(service.address, 20 * request("GET", "/livez"), half_close=True))) == 20


def test_pipelined_replies_come_in_order() -> None:
    # Each answer is the row itself; a slow path, a fast path and refusals alternate.
    with Running(Fake(lambda row: int(row[0])), limits=Limits(owed=8)) as service:
        data = b""
        for k in range(300):
            record = {**EXAMPLE, NAMES[0]: k}
            kind = k % 4
            body = [json.dumps(record), json.dumps([record]), "{", json.dumps({**record, "id": 1})][kind].encode()
            data += request("POST", "/predict", body, {"X-Request-Id": str(k)})
            data += request("GET", "/livez", headers={"X-Request-Id": f"live-{k}"})
        found = replies(raw(service.address, data + LAST))
        assert len(found) == 601
        for k in range(300):
            answer, live = found[2 * k], found[2 * k + 1]
            assert answer.headers["x-request-id"] == str(k)
            assert live.headers["x-request-id"] == f"live-{k}"
            expected = [{"prediction": k}, {"predictions": [k]}, None, {"prediction": k}][k % 4]
            assert answer.status == (400 if expected is None else 200)
            assert expected is None or answer.json == expected


def test_head_answers_without_a_body(service: Running) -> None:
    data = raw(service.address, request("HEAD", "/info", close=True))
    answer, rest = parse(data, head=True)
    assert answer.status == 200
    assert int(answer.headers["content-length"]) > 100
    assert rest == b""


def test_http_1_0_is_answered_and_kept_only_when_asked(service: Running) -> None:
    answer = parse(raw(service.address, b"GET /livez HTTP/1.0\r\n\r\n"))[0]
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    kept = raw(service.address, b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LAST)
    assert [a.headers["connection"] for a in replies(kept)] == ["keep-alive", "close"]


def test_a_client_that_closes_its_side_gets_its_answer(service: Running) -> None:
    assert parse(raw(service.address, request("POST", "/predict", BODY), half_close=True))[0].status == 200


def test_an_offer_to_upgrade_is_passed_over(service: Running) -> None:
    # As Java's HttpClient sends every request to an http address.
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABk"}
    found = replies(raw(service.address, request("POST", "/predict", BODY, headers) + LAST))
    assert [a.status for a in found] == [200, 200]


def test_an_absolute_target_is_understood(service: Running) -> None:
    data = b"GET http://localhost/livez?x HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n"
    assert parse(raw(service.address, data))[0].status == 200


def test_continue_is_sent_when_the_body_is_welcome(service: Running) -> None:
    with socket.create_connection(service.address, timeout=5) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert parse(sock.makefile("rb").read())[0].json == {"prediction": 1}


def test_no_continue_for_a_body_over_the_cap(service: Running) -> None:
    data = raw(service.address, POST + b"Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n")
    assert parse(data)[0].status == 413


def test_a_chunked_body_over_the_cap_is_refused_while_it_streams(service: Running) -> None:
    part = b"10000\r\n" + b" " * 65536 + b"\r\n"
    data = raw(service.address, POST + b"Transfer-Encoding: chunked\r\n\r\n" + part * 200)
    assert parse(data)[0].status == 413


SMUGGLING = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "length after chunked": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + LAST,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef" + LAST,
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" + LAST,
    "signed length": POST + b"Content-Length: +5\r\n\r\nabcde" + LAST,
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nabcde" + LAST,
    "hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nabcde" + LAST,
    "huge length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + LAST,
    "other coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "not quite chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + LAST,
    "blank before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + LAST,
    "folded header": POST + b"X: a\r\n b\r\n\r\n" + LAST,
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: 127.0.0.1\n\n" + LAST,
    "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n" + LAST,
    "chunk without end": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n" + LAST,
    "chunk size with line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + LAST,
    "huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc" + LAST,
    "two hosts": b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n" + LAST,
    "no host": b"GET /livez HTTP/1.1\r\n\r\n" + LAST,
    "null in header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n" + LAST,
    "blank in name": b"GET /livez HTTP/1.1\r\n" + HOST + b"X Y: a\r\n\r\n" + LAST,
    "chunked in 1.0": b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "tunnel": b"CONNECT other:443 HTTP/1.1\r\n" + HOST + b"\r\n" + LAST,
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_unclear_framing_is_refused_once_and_closed(service: Running, name: str) -> None:
    data = raw(service.address, SMUGGLING[name])
    answers = replies(data)
    assert len(answers) == 1, data
    assert answers[0].status in (400, 413), data
    assert answers[0].headers["connection"] == "close"


def test_a_clear_request_with_the_same_tail_is_answered_twice(service: Running) -> None:
    """What the test above proves is proven only if the tail would be answered."""
    assert len(replies(raw(service.address, POST + b"Content-Length: 5\r\n\r\nabcde" + LAST))) == 2


def test_header_limits(service: Running) -> None:
    cases = {
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n": 431,
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 17_000 + b"\r\n\r\n": 431,
        b"GET /livez HTTP/1.1\r\n" + HOST + b"".join(b"X%d: a\r\n" % k for k in range(10_000)) + b"\r\n": 431,
        b"GET /livez HTTP/1.1\r\n" + HOST + b"".join(b"X%d: a\r\n" % k for k in range(100)) + b"\r\n": 431,
        b"GET /livez?" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n": 414,
        b"GET /livez?" + b"a" * 8_200 + b" HTTP/1.1\r\n" + HOST + b"\r\n": 414,
    }
    for data, status in cases.items():
        found = replies(raw(service.address, data))
        assert [a.status for a in found] == [status]
    within = b"GET /livez?" + b"a" * 8_000 + b" HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 7_000 + b"\r\n"
    assert parse(raw(service.address, within + b"Connection: close\r\n\r\n"))[0].status == 200


def test_tiny_chunks_are_refused(service: Running) -> None:
    data = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n"
    assert parse(raw(service.address, data))[0].status == 400


def quick() -> Limits:
    return Limits(header_seconds=0.3, body_grace=0.3, idle_seconds=0.6, request_seconds=1.0, stall_seconds=0.5)


def closed_after(address: tuple[str, int], data: bytes) -> tuple[float, bytes]:
    start = time.monotonic()
    back = raw(address, data, timeout=5)
    return time.monotonic() - start, back


def test_slow_clients_are_ended() -> None:
    with Running(Linearly(), limits=quick()) as service:
        seconds, back = closed_after(service.address, b"")
        assert seconds < 2
        assert back == b""
        seconds, back = closed_after(service.address, b"GET /livez HT")
        assert seconds < 2
        assert parse(back)[0].status == 408
        seconds, back = closed_after(service.address, POST + b"Content-Length: 100000\r\n\r\nabc")
        assert seconds < 3
        assert parse(back)[0].status == 408
        seconds, back = closed_after(service.address, b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        assert 0.3 < seconds < 3
        assert len(replies(back)) == 1


def test_an_empty_line_after_an_answer_holds_no_connection() -> None:
    with Running(Linearly(), limits=quick()) as service, socket.create_connection(service.address, timeout=5) as sock:
        sock.sendall(request("POST", "/predict", BODY))
        assert replies(sock.recv(65536))[0].status == 200
        sock.sendall(b"\r\n")
        assert parse(sock.makefile("rb").read())[0].status == 408
        until(lambda: not service.port.connections)
        assert service.port.in_flight == 0


def test_dripping_headers_do_not_extend_the_deadline() -> None:
    with Running(Linearly(), limits=quick()) as service, socket.create_connection(service.address, timeout=5) as sock:
        start = time.monotonic()
        sock.sendall(b"GET /livez HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 4:
                sock.sendall(b"X: a\r\n")
                time.sleep(0.05)
        assert time.monotonic() - start < 4


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_a_client_that_does_not_read_is_ended(name: str) -> None:
    limits = Limits(stall_seconds=0.5, owed=8)
    loop = asyncio.new_event_loop() if name == "asyncio" else None
    with Running(Linearly(), limits=limits, loop=loop) as service, socket.create_connection(service.address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        data, sent = request("GET", "/openapi.json") * 100_000, 0
        end = time.monotonic() + 10
        while service.port.connections or not sent:
            assert time.monotonic() < end
            with contextlib.suppress(BlockingIOError, ConnectionError):
                sent += sock.send(data[sent:])
            time.sleep(0.01)
        assert sent < len(data)  # back-pressure: not even the requests were all read
        assert predict(service.address, EXAMPLE).status == 200


def test_a_late_answer_is_504_and_its_work_is_not_repeated() -> None:
    model = Fake(lambda row: 1, seconds=1.5)
    from wherry.server.predictor import Cost

    limits = Limits(request_seconds=0.5)
    with Running(model, limits=limits, cost=Cost(1.5, 0.0)) as service:
        start = time.monotonic()
        answer = predict(service.address, EXAMPLE)
        assert answer.status == 504
        assert time.monotonic() - start < 1.4
        assert answer.json["type"].endswith("#deadline")
        until(lambda: service.predictions.batcher.idle)
        assert model.calls == [1]
        assert service.port.in_flight == 0


def test_at_the_cap_the_oldest_connection_without_a_request_goes() -> None:
    with Running(Linearly(), limits=Limits(connections=5)) as service:
        waiting = [socket.create_connection(service.address) for _ in range(5)]
        until(lambda: len(service.port.connections) == 5)
        assert predict(service.address, EXAMPLE).status == 200
        waiting[0].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert waiting[0].recv(1) == b""
        waiting[4].sendall(request("GET", "/livez", close=True))
        assert parse(waiting[4].makefile("rb").read())[0].status == 200
        for sock in waiting:
            sock.close()


# A kept connection at the very end


@pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
def test_what_came_on_an_idle_connection_is_read_before_it_is_closed(kind: str) -> None:
    def last_answer(service: Running, close: Callable[[], None]) -> bytes:
        """What is read on a kept connection that was asked a moment before `close`, which nobody has seen yet."""
        asked = request("POST", "/predict", BODY)

        async def ask_and_close() -> None:
            kept.sendall(asked)
            service.port.closing = True
            close()

        with socket.create_connection(service.address, timeout=5) as kept:
            kept.sendall(asked)
            assert parse(kept.recv(65536))[0].status == 200
            asyncio.run_coroutine_threadsafe(ask_and_close(), service.loop).result(10)
            with contextlib.suppress(ConnectionResetError):
                return kept.makefile("rb").read()
        return b""

    with Running(Linearly(), loop=asyncio.new_event_loop() if kind == "asyncio" else None) as service:
        answer, rest = parse(last_answer(service, service.port.close_idle))
        assert (answer.status, answer.headers["connection"], rest) == (200, "close", b"")
        service.port.closing = False

        def blindly() -> None:
            for connection in list(service.port.connections):
                connection.transport.close()

        assert last_answer(service, blindly) == b"", "the control: closed unread, it is reset"


# Header blocks that are recognised


def test_a_header_block_is_recognised_and_its_body_is_not() -> None:
    """The same header with another body of the same length, whole, split and with the next request behind it."""
    first, second = (json.dumps({**EXAMPLE, "area_worst": area}).encode() for area in (2019.0, 1019.5))
    assert len(first) == len(second)
    with Running(Linearly()) as service, socket.create_connection(service.address, timeout=10) as sock:
        file = sock.makefile("rb")

        def reply() -> int:
            status = int(file.readline().split()[1])
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            assert status == 200
            return int(json.loads(file.read(length))["prediction"])

        whole = [request("POST", "/predict", body) for body in (first, second)]
        for data in whole * 3:
            sock.sendall(data)
            assert reply() == 1
        assert len(service.port.heads) == 1
        for cut in (10, len(whole[0]) - 5):
            sock.sendall(whole[0][:cut])
            time.sleep(0.05)  # so that it is read alone; were it not, less would be tried
            sock.sendall(whole[0][cut:])
            assert reply() == 1
        sock.sendall(whole[0] + whole[1] + whole[0])
        assert [reply() for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("header", ["X-Request-Id: a", "Expect: 100-continue", "Connection: close"])
def test_what_differs_or_changes_the_reading_is_not_remembered(header: str) -> None:
    name, _, value = header.partition(": ")
    with Running(Linearly()) as service:
        data = request("POST", "/predict", json.dumps(EXAMPLE).encode(), {name: value})
        with socket.create_connection(service.address, timeout=10) as sock:
            sock.sendall(data)
            found = b""
            while b"200 OK" not in found:
                found += sock.recv(65536)
        assert service.port.heads == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
        {"User-Agent": "python-requests/2.32", "Accept-Encoding": "gzip", "Accept": "*/*", "Connection": "keep-alive"},
        {"Accept": "application/json, text/plain, */*", "Content-Type": "application/json; charset=UTF-8"},
    ],
)
def test_what_clients_say_each_time_leaves_them_the_short_way(headers: dict[str, str]) -> None:
    asked: list[bool] = []

    class Model(Linearly):
        def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
            asked.append(probabilities)
            return super().score(rows, probabilities)

    with Running(Model()) as service, socket.create_connection(service.address, timeout=10) as sock:
        for body in (EXAMPLE, [EXAMPLE], EXAMPLE):
            asked.clear()
            sock.sendall(request("POST", "/predict", json.dumps(body).encode(), headers))
            assert b"200 OK" in sock.recv(65536)
            assert asked == [False], "probabilities that nobody asked for"
        one, _ = service.port.heads.values()
        assert one.receive.__name__ == "take"
        sock.sendall(request("POST", "/predict", b"{}", headers | {"Accept": "application/vnd.wherry.native+json"}))
        assert b"422" in sock.recv(65536)
        until(lambda: len(service.port.heads) == 3)  # it is remembered after its reply
        assert [head.receive.__name__ for head in service.port.heads.values()][2:] == ["receive"]


def test_no_more_header_blocks_are_remembered_than_there_is_room_for() -> None:
    from wherry.server import heads

    with Running(Linearly()) as service, socket.create_connection(service.address, timeout=10) as sock:
        for index in range(heads.MOST + 10):
            sock.sendall(request("GET", f"/livez?{index}"))
            assert b"200 OK" in sock.recv(65536)
            assert len(service.port.heads) <= heads.MOST
        assert len(service.port.heads) == 10
