"""Clients that leave, drip or do not read, many at once: nothing is leaked, and the others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from serving import EXAMPLE, Fake, Kept, Linearly, Running, predict, request, until

from wherry.errors import RequestRefused
from wherry.server import port
from wherry.server.limits import Limits
from wherry.server.predictor import Cost
from wherry.server.protocol import HEAD, Exchange

BODY = json.dumps(EXAMPLE).encode()
POST = request("POST", "/predict", BODY)
LEAVING = int(os.environ.get("WHERRY_TEST_LEAVING", "600"))  # T42 asks for 10,000
LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
SLOW = int(os.environ.get("WHERRY_TEST_SLOW", "45"))  # T15 asks for 1,000


def abort(sock: socket.socket) -> None:
    """Leave with a reset, as a client does that was killed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one call: iterdir would hold the folder open


def test_clients_that_leave_in_the_middle_leave_nothing_behind() -> None:
    """T42: before the header is whole, in the body, while the model works, with replies unread."""
    parts: tuple[Callable[[], bytes], ...] = (lambda: POST[:30], lambda: POST[:-20], lambda: POST, lambda: POST * 20)
    kept, model = Kept(), Fake(lambda row: 1, seconds=0.01)
    with Running(model, cost=Cost(0.01, 0.0), journal=kept) as service:
        assert predict(service.address, EXAMPLE).status == 200
        before = open_files()
        for number in range(LEAVING):
            sock = socket.create_connection(service.address, 10)
            sock.sendall(parts[number % len(parts)]())
            abort(sock)
        batcher = service.predictions.batcher
        until(lambda: not service.port.connections and not service.port.in_flight and batcher.idle)
        assert batcher.waiting_rows == 0
        until(lambda: open_files() <= before)
        assert predict(service.address, EXAMPLE).status == 200
        print(f"T42: {LEAVING} left, {sum(model.calls)} rows computed, {len(kept.entries)} stored")
        assert len(kept.entries) == sum(model.calls)


def test_what_is_counted_there_is_there_while_clients_stay() -> None:
    """T42's control: the same counts see clients that have not left."""
    with Running(Linearly()) as service:
        before = open_files()
        staying = [socket.create_connection(service.address, 10) for _ in range(10)]
        until(lambda: len(service.port.connections) == 10)
        assert open_files() >= before + 20  # both ends are this process's
        for sock in staying:
            abort(sock)
        until(lambda: not service.port.connections)


def dripping(address: tuple[str, int], mode: int) -> socket.socket:
    """A client that has begun to be slow: in its header, in its body, or in reading what it asked for."""
    sock = socket.create_connection(address, 10)
    if mode == 2:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.send(request("GET", "/openapi.json") * 500)
    else:
        sock.sendall((b"GET /livez HTTP/1.1\r\n", POST[: -len(BODY)])[mode])
    return sock


@contextlib.contextmanager
def slow_clients(service: Running) -> Iterator[list[socket.socket]]:
    clients = [dripping(service.address, number % 3) for number in range(SLOW)]
    try:
        yield clients
    finally:
        for sock in clients:
            sock.close()


def drip(clients: list[socket.socket]) -> None:
    """A byte more of a header or a body, from those that are still connected; a slow reader reads one."""
    for number, sock in enumerate(clients):
        with contextlib.suppress(OSError):
            if number % 3 == 2:
                sock.recv(1)
            else:
                sock.send(b"a" if number % 3 else b"X: a\r\n")


@pytest.mark.parametrize("patient", [False, True], ids=["limits", "control"])
def test_slow_clients_keep_nobody_from_being_answered(patient: bool) -> None:
    """T15: they are ended in time, and every good request meanwhile is answered. The control has no such limits."""
    quick = {"header_seconds": 0.5, "body_grace": 0.5, "body_rate": 1024, "stall_seconds": 0.5, "linger_seconds": 0.3}
    limits = Limits() if patient else Limits(**quick)
    with Running(Linearly(), limits=limits) as service, slow_clients(service) as clients:
        good, end, due = 0, time.monotonic() + 3.0, 0.0
        while time.monotonic() < end:
            if time.monotonic() >= due:  # ten a second: more often, they would soon have sent a whole request
                drip(clients)
                due = time.monotonic() + 0.1
            assert predict(service.address, EXAMPLE).status == 200
            good += 1
        assert good > 5
        if patient:
            assert len(service.port.connections) > 0.9 * SLOW
        else:
            until(lambda: not service.port.connections)


FEW = port.TOGETHER


@pytest.mark.parametrize("together", [FEW, 1000], ids=["few", "control"])
def test_those_whose_time_ends_at_once_do_not_hold_up_the_others(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused by one sweep, but few in a row: what others ask is answered in between."""
    many, row, longest = 100, 0, 0
    monkeypatch.setattr(port, "TOGETHER", together)
    with Running(Linearly()) as service, contextlib.ExitStack() as stack:
        refuse, loop = service.port.site.refuse, service.port.loop

        def counted(exchange: Exchange, error: RequestRefused) -> None:
            nonlocal row, longest
            if row == 0:
                loop.call_soon(turned)
            row += 1
            longest = max(longest, row)
            refuse(exchange, error)

        def turned() -> None:
            nonlocal row
            row = 0

        service.port.site.refuse = counted  # to see when
        for _ in range(many):
            sock = stack.enter_context(socket.create_connection(service.address, 10))
            sock.sendall(b"GET /livez HTTP/1.1\r\n")
        until(lambda: [each.state for each in service.port.connections] == [HEAD] * many)
        service.port.limits = Limits(header_seconds=0.0, linger_seconds=0.1)
        until(lambda: not service.port.connections)
    assert (longest > FEW) is (together > FEW)


@pytest.mark.parametrize("patient", [False, True], ids=["deadline", "control"])
def test_a_model_that_is_ten_times_too_slow_holds_no_more_than_may_wait(patient: bool) -> None:
    """T38: 504 at the deadline, refusals past what may wait, one call of the model at a time; then all is as before."""
    deadline = 0.3
    model = Fake(lambda row: 1, seconds=10 * deadline)
    limits = Limits(request_seconds=100 * deadline if patient else deadline)
    with Running(model, limits=limits, cost=Cost(10 * deadline, 0.0)) as service, contextlib.ExitStack() as stack:
        batcher = service.predictions.batcher
        for turn in range(20 if LONG and not patient else 1):
            clients = [stack.enter_context(socket.create_connection(service.address, 10)) for _ in range(150)]
            begun = time.monotonic()
            for sock in clients:
                sock.sendall(POST)
            came: dict[int, list[float]] = {503: [], 504: []}  # when the replies of each status were there
            with selectors.DefaultSelector() as waiting:
                for sock in clients:
                    waiting.register(sock, selectors.EVENT_READ, sock)
                while waiting.get_map() and time.monotonic() - begun < 6 * deadline:
                    for key, _ in waiting.select(0.1):
                        waiting.unregister(key.data)
                        came[int(key.data.recv(65536).split()[1])].append(time.monotonic() - begun)
                unanswered = len(waiting.get_map())
            if patient:
                assert unanswered > 0 and not came[504]  # they wait for the model, which nothing else ends
                return
            assert unanswered == 0  # long before the model has come back
            until(lambda: batcher.idle, seconds=15)
            assert len(model.calls) == turn + 1  # nobody waited for the others any more
            assert 0 < len(came[504]) <= model.calls[-1] + batcher.burst_rows  # what was scored, and what might wait
            print(f"T38: {len(came[504])} of 504, the last after {max(came[504]):.2f} s; {len(came[503])} of 503")
            for sock in clients:
                sock.close()
        model.seconds = 0.0
        assert predict(service.address, EXAMPLE).status == 200


REUSED = int(os.environ.get("WHERRY_TEST_REUSED", "60"))  # T43 asks for 10,000


@pytest.mark.parametrize("idle", [0.2, 1.1], ids=["under", "control"])
def test_a_connection_is_used_again_until_its_idle_time_is_over(idle: float) -> None:
    """T43: who pauses for less than the service does meets no reset; the control pauses for longer."""
    ended = 0
    with Running(Linearly(), limits=Limits(idle_seconds=0.6)) as service:
        clients = [socket.create_connection(service.address, 10) for _ in range(20)]
        for turn in range(max(1, (REUSED if idle == 0.2 else 60) // len(clients))):
            for number, sock in enumerate(clients):
                try:
                    sock.sendall(POST)
                    answered = sock.recv(65536).startswith(b"HTTP/1.1 200")
                except OSError:
                    answered = False
                if not answered:
                    ended += 1
                    sock.close()
                    clients[number] = socket.create_connection(service.address, 10)
            time.sleep(idle + 0.01 * (turn % 5))
        for sock in clients:
            sock.close()
    assert ended == 0 if idle == 0.2 else ended > 0
