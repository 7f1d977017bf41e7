"""Clients that are slow on purpose, and what the others feel of them.

python bench/slow.py [--first] [SECONDS] [CONNECTIONS]: a linear model on core 0, 200 requests a second from core 1, for
SECONDS (60) alone, and then beside CONNECTIONS (1,000) that drip a header, drip a body, or ask and do not read, and
that come back when they are ended. These are a process of its own that yields to the one that asks: who would measure
in the same loop would measure how long a thousand timers take. --first as in overload.py; they stay behind. Ends with 1
when a good request fails, when the p99 is over 1.2 times the one before and 5 ms more, or when more than 50 connections
are open 15 seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import urllib.request
from pathlib import Path

import uvloop
from models import pack
from overload import Sender, good, p99
from turns import SENDER_CORE, Peer, forked, free_port, settle, started

RATE, DRIP_SECONDS, AFTER_SECONDS, MOST_OPEN, MORE, MORE_MS = 200.0, 1.0, 15.0, 50, 1.2, 5.0
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
CLIENTS = "--clients"
BEGINNINGS = (HEAD, HEAD + b"Content-Length: 100000\r\n\r\n", LARGE)


async def slow(port: int, mode: int) -> None:
    """One client, which comes back whenever it is ended."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(OSError), socket.socket() as sock:
            if mode == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            sock.send(BEGINNINGS[mode])
            while True:
                await asyncio.sleep(DRIP_SECONDS)
                if mode == 2:
                    with contextlib.suppress(BlockingIOError):
                        if not sock.recv(1):
                            break
                else:
                    sock.send(b"a" if mode else b"X: a\r\n")
        await asyncio.sleep(DRIP_SECONDS)


async def slowly(port: int, many: int) -> None:
    """All of them, one after the other within DRIP_SECONDS: they are strangers, and know of no common clock."""
    async with asyncio.TaskGroup() as clients:
        for number in range(many):
            clients.create_task(slow(port, number % 3))
            await asyncio.sleep(DRIP_SECONDS / many)


def open_connections(admin: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as reply:
        lines = [line for line in reply.read().decode().splitlines() if line.startswith("wherry_connections")]
    return int(sum(float(line.split()[-1]) for line in lines))


async def story(port: int, admin: int, bodies: list[str], seconds: float, many: int) -> int:
    sender = Sender(port, bodies)
    await sender.run(RATE, 2.0)
    before = await sender.run(RATE, seconds)
    clients = await asyncio.create_subprocess_exec(
        sys.executable, __file__, CLIENTS, str(port), str(many), start_new_session=True
    )
    await asyncio.sleep(3)
    meanwhile = await sender.run(RATE, seconds)
    there = open_connections(admin)
    clients.kill()
    await clients.wait()
    await asyncio.sleep(AFTER_SECONDS)
    left, failed = open_connections(admin), len(meanwhile) - len(good(meanwhile))
    print(f"{len(before):,} requests alone: p99 {p99(before):.1f} ms")
    print(
        f"{len(meanwhile):,} beside {many:,} slow clients: p99 {p99(meanwhile):.1f} ms, {failed} failed, {there:,} open"
    )
    print(f"{left} connections open {AFTER_SECONDS:.0f} s after they had left")
    return int(failed > 0 or left > MOST_OPEN or p99(meanwhile) > max(MORE * p99(before), p99(before) + MORE_MS))


def main(seconds: float, many: int, first: bool) -> int:
    if first:
        forked()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = pack(folder, ("linear",))["linear"]
        port, admin = free_port(), free_port()
        environ = {
            "WHERRY_BUNDLE": str(bundle),
            "WHERRY_SERVE_PORT": str(port),
            "WHERRY_SERVE_ADMIN_PORT": str(admin),
            "WHERRY_STORE_ENABLED": "false",
        }
        with started(Peer([sys.executable, "-m", "wherry.server"], port, environ), first=first):
            settle(SENDER_CORE, first=first)
            bodies = (folder / "rows.jsonl").read_text().splitlines()
            return uvloop.run(story(port, admin, bodies, seconds, many))


if __name__ == "__main__":
    if sys.argv[1:2] == [CLIENTS]:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        uvloop.run(slowly(*map(int, sys.argv[2:])))
    numbers = [float(text) for text in sys.argv[1:] if text != "--first"] or [60.0, 1000]
    sys.exit(main(numbers[0], int(numbers[1]), "--first" in sys.argv))
