"""Quick answers come in the order of the requests, however these come; and connections leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_parts import (
    BEGUN,
    FOREVER,
    NONE,
    ONE,
    bare,
    classes,
    known,
    post,
    received,
    scorer,
)
from serving import Running, replies, until

from wherry.server import heads
from wherry.server.heads import Way
from wherry.server.ids import new_tail
from wherry.server.limits import Limits
from wherry.server.port import Port
from wherry.server.protocol import Connection
from wherry.server.tls import Certificate

pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")

LOOPS = pytest.mark.parametrize("make", [None, asyncio.new_event_loop], ids=["uvloop", "asyncio"])


class Client:
    """A connection without a socket, of a port that answers all requests alike: by itself, or quickly."""

    def __init__(self, read: Callable[[bytes], Any] = bytes) -> None:
        self.sent, self.waiting, self.turns = b"", [], []  # type: ignore[var-annotated]  # exchanges, calls
        self.quick = bare(read=read, tails=(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
        self.quick.lease(BEGUN, new_tail().encode(), FOREVER)
        site: Any = type("Site", (), {"receive": self.waiting.append, "way": self.way})()
        loop: Any = type("Loop", (), {"call_soon": lambda _, call: self.turns.append(call)})()
        self.port = Port(site, Limits(), loop)
        self.connection = Connection(self.port)
        self.connection.connection_made(self)  # type: ignore[arg-type]  # as much as is asked of it

    def way(self, exchange: Any) -> Way:
        return Way(self.waiting.append, self.quick)

    def answer(self) -> None:
        while self.waiting:
            exchange = self.waiting.pop(0)
            exchange.answer(200, b"X-By: Python\r\n", exchange.body[-1:])

    def said(self) -> str:
        """Who answered, in order: q or p."""
        self.answer()
        while self.turns:
            self.turns.pop(0)()
            self.answer()
        sent, self.sent = self.sent, b""
        return "".join("p" if "x-by" in each.headers else "q" for each in replies(sent))

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...


ROW = np.array([3.0, 1.0]).tobytes()
TIE = bytes(16)


@pytest.fixture
def client() -> Client:
    one = Client()
    receive = one.connection.data_received
    receive(post(ROW))
    assert one.said() == "p"
    receive(post(ROW))
    assert one.said() == "q"
    return one


def test_whole_requests_are_answered_quickly_and_others_in_their_order(client: Client) -> None:
    receive, data = client.connection.data_received, post(ROW)
    receive(data + data)
    assert client.said() == "pp"
    for cut in (1, 20, data.index(b"\r\n\r\n") + 2, data.index(b"\r\n\r\n") + 4, len(data) - 1):
        receive(data[:cut])
        assert client.said() == ""
        receive(data[cut:])
        assert client.said() == "p", cut
        receive(data)
        assert client.said() == "q"
    receive(data + data[:-3])
    assert client.said() == "p"
    receive(data[-3:])
    assert client.said() == "p"
    receive(post(TIE))
    assert client.said() == "p"
    receive(data)
    assert client.said() == "q"
    for old, new in ((b"Host", b"HOST"), (b"POST", b"PUT"), (b"127.0.0.1", b"127.0.0.2"), (b": 16", b":16")):
        changed = data.replace(old, new)
        assert changed != data
        receive(changed)
        assert client.said() == "p", "another header is read"
        receive(changed)
        assert client.said() == "q", "and known then"
    receive(data[:-1])
    receive(b"\0")
    assert client.said() == "p", "a body that ends later"
    receive(data + data[:1])
    assert client.said() == "p", "and one with something behind it"
    receive(data[1:])
    assert client.said() == "p"
    receive(data)
    assert client.said() == "q"


def test_the_first_empty_line_ends_a_header(client: Client) -> None:
    receive = client.connection.data_received
    body = b"\r\n\r\n\0\0\x08@" + ROW[8:]  # a number near 3
    assert len(body) == len(ROW)
    receive(post(ROW).replace(ROW, body))
    assert client.said() == "q"
    for before in (b"\r\n", b"\r\n\r\n"):
        receive(before + post(ROW))
        assert client.said() == "p"
        receive(before)
        assert client.said() == ""
        receive(post(ROW))
        assert client.said() == "p"
    receive(post(ROW))
    assert client.said() == "q"


def test_what_is_owed_comes_first(client: Client) -> None:
    receive, data = client.connection.data_received, post(ROW)
    receive(post(TIE))
    assert len(client.waiting) == 1 and client.sent == b""
    receive(data)
    receive(data)
    assert len(client.waiting) == 3 and client.sent == b""
    assert client.said() == "ppp"
    receive(data)
    assert client.said() == "q"


@pytest.mark.parametrize("name", ["held", "writable", "state", "owed", "ways", "write"])
def test_a_connection_that_is_not_ready_is_pythons(client: Client, reads: list[bytes], name: str) -> None:
    connection, data = client.connection, post(ROW)
    reads.clear()
    odd: dict[str, list[Any]] = {
        "held": [True, 0],
        "writable": [False, 1],
        "state": [1, 2, 3, 4, False],
        "owed": [[None]],
        "ways": [{}, [], {data[: data.index(b"\r\n\r\n")]: client.quick}, {data[: data.index(b"\r\n\r\n")]: (1, 16)}],
        "write": [],
    }
    right = getattr(connection, name)
    for value in odd[name]:
        setattr(connection, name, value)
        with contextlib.suppress(Exception):  # read is told, and may say anything of it
            connection.data_received(data)
        setattr(connection, name, right)
    delattr(connection, name)
    with contextlib.suppress(Exception):  # read is told, and may say anything of it
        connection.data_received(data)
    assert reads == [data] * (len(odd[name]) + 1)
    assert b"X-Prediction-Id" not in client.sent


def test_what_is_held_back_is_answered_in_order(client: Client) -> None:
    connection, data = client.connection, post(ROW)
    connection.pause_writing()
    for _ in range(3):
        connection.data_received(data)
    assert client.said() == "" and connection.backlog == 3 * data
    connection.resume_writing()
    assert client.said() == "ppp"
    connection.data_received(data)
    assert client.said() == "q"
    connection.data_received(20 * data)
    connection.data_received(data)
    assert client.said() == 21 * "p"
    connection.data_received(data)
    assert client.said() == "q"


def test_a_large_body_is_not_quick() -> None:
    for size, who in ((heads.QUICK_BYTES, "q"), (heads.QUICK_BYTES + 1, "p")):
        one = Client(read=lambda body: ROW)
        data = post(bytes(size))
        head, body = data[: data.index(b"\r\n\r\n") + 4], bytes(size)
        one.connection.data_received(head + body)
        one.said()
        with contextlib.suppress(StopIteration):
            # It is remembered where header and body were one small packet: as if it had been.
            exchange: Any = one.connection.exchange
            heads.remember(one.port, exchange, head[:-4], body)
        one.connection.data_received(data)
        assert one.said() == who, size


def test_what_the_reader_or_the_transport_raises_is_raised(client: Client) -> None:
    def refuse(body: bytes) -> bytes:
        raise LookupError("by the reader")

    client.quick = bare(read=refuse)
    client.quick.lease(BEGUN, new_tail().encode(), FOREVER)
    client.connection.data_received(post(ROW, Other="1"))
    assert client.said() == "p"
    with pytest.raises(LookupError, match="by the reader"):
        client.connection.data_received(post(ROW, Other="1"))

    def fail(data: bytes) -> None:
        raise OSError("by the transport")

    client.answer()
    client.connection.write = fail
    with pytest.raises(OSError, match="by the transport"):
        client.connection.data_received(post(ROW))


@LOOPS
@pytest.mark.usefixtures("long_leases")
def test_replies_come_in_order_however_requests_come(make: Callable[[], Any] | None) -> None:
    pattern = [1, 0, 0, 1, 1, 1, 0, 1, 0, 0] * 6
    asked = [post(ONE if each else NONE) for each in pattern]
    whole = b"".join(asked)
    with (
        Running(scorer(), loop=make and make()) as service,
        socket.create_connection(service.address, timeout=10) as sock,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        known(sock, ONE), known(sock, NONE)
        for size in (53, 100, 211, len(asked[0]), 1000, 4096, 1 << 16):
            for start in range(0, len(whole), size):
                sock.sendall(whole[start : start + size])
            assert classes(received(sock, len(pattern))) == pattern
        many = post([ONE] * 3000)
        for _ in range(3):
            for data in (many, asked[1], asked[0]):
                sock.sendall(data)
            found = received(sock, 3)
            assert b'"predictions"' in found[0] and classes(found[1:]) == [0, 1]


@LOOPS
@pytest.mark.usefixtures("long_leases")
def test_a_client_that_does_not_read_is_waited_for(make: Callable[[], Any] | None) -> None:
    pattern = [1, 0, 0, 1, 1] * 4000
    asked = [post(ONE if each else NONE) for each in pattern]
    with Running(scorer(), loop=make and make()) as service, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(service.address)
        known(sock, ONE), known(sock, NONE)
        sock.sendall(asked[0])
        size = len(received(sock)[0])

        def send_all() -> None:
            for data in asked:
                sock.sendall(data)

        sender = threading.Thread(target=send_all)
        sender.start()
        until(lambda: any(not each.writable for each in list(service.port.connections)))
        found = bytearray()
        while len(found) < len(pattern) * size:  # all are of one size
            found += sock.recv(1 << 16)
        assert [int(each) for each in re.findall(rb'"prediction":(\d)', found)] == pattern
        sender.join()


@LOOPS
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.usefixtures("long_leases")
def test_answers_are_quick_under_tls(make: Callable[[], Any] | None, tmp_path: Path, reads: list[bytes]) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip  # a command line
    context = ssl.create_default_context(cafile=str(chain))
    with Running(scorer(), loop=make and make(), certificate=Certificate(chain, key)) as service:
        plain = socket.create_connection(service.address, 10)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            first, second = known(sock, ONE), known(sock, NONE)
            reads.clear()
            for data, right in ((first, 1), (second, 0)) * 10:
                sock.sendall(data)
                assert classes(received(sock)) == [right]
            assert not reads
            sock.sendall(first + second)
            assert classes(received(sock, 2)) == [1, 0]


@pytest.fixture
def uncollected() -> Iterator[None]:
    import gc

    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("kept", [False, True], ids=["as it is", "the control"])
def test_connections_that_were_answered_leave_nothing(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    held: list[Any] = []
    one = Client()

    def asked() -> None:
        other = Connection(one.port)
        other.connection_made(one)  # type: ignore[arg-type]  # as much as is asked of it
        for _ in range(3):
            other.data_received(post(ROW))
            one.answer()
        assert b"X-Prediction-Id" in one.sent
        one.sent = b""
        other.connection_lost(None)
        if kept:
            held.append(other)

    for _ in range(10):
        asked()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        asked()
    left = sys.getallocatedblocks() - before
    assert left < 200 if not kept else left > 2000
