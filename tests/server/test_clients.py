"""Clients that leave, drip or do not read, many at once: nothing is leaked, and the others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from serving import EXAMPLE, Fake, Linearly, Running, predict, request, until

from wherry.server.limits import Limits
from wherry.server.predictor import Cost

BODY = json.dumps(EXAMPLE).encode()
POST = request("POST", "/predict", BODY)
LEAVING = int(os.environ.get("WHERRY_TEST_LEAVING", "600"))  # T42 asks for 10,000
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
    with Running(Fake(lambda row: 1, seconds=0.01), cost=Cost(0.01, 0.0)) as service:
        assert predict(service.address, EXAMPLE).status == 200
        before = open_files()
        for number in range(LEAVING):
            sock = socket.create_connection(service.address, 10)
            sock.sendall(parts[number % len(parts)]())
            abort(sock)
        port, batcher = service.port, service.predictions.batcher
        until(lambda: not port.connections and not port.in_flight and batcher.idle)
        assert batcher.waiting_rows == 0
        until(lambda: open_files() <= before)
        assert predict(service.address, EXAMPLE).status == 200


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
    limits = Limits() if patient else Limits(**quick)  # type: ignore[arg-type]  # one of them is an integer
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
