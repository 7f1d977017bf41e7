"""Servers and senders that are measured in turns: the server on core 0, who asks it on core 1, the same for each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SERVER_CORE, SENDER_CORE = 0, 1
# The limit of a server in Python: it reads requests as ours does, and answers a constant.
CONSTANT = """
import asyncio, sys, httptools, uvloop
REPLY = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 16\\r\\n\\r\\n{"prediction":1}'
class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_complete(self):
        self.transport.write(REPLY)
async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
uvloop.run(main())
"""


class Peer(NamedTuple):
    """A server that can be started: its command and what its environment holds besides."""

    command: list[str]
    port: int
    environ: dict[str, str]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def serving(bundle: Path, **more: str) -> Peer:
    """The service of a bundle as an image starts it, on ports of its own; more: what its environment holds besides."""
    port = free_port()
    environ = {
        "WHERRY_BUNDLE": str(bundle),
        "WHERRY_SERVE_PORT": str(port),
        "WHERRY_SERVE_ADMIN_PORT": str(free_port()),
        "WHERRY_STORE_ENABLED": "false",
    }
    return Peer([sys.executable, "-m", "wherry.server"], port, environ | more)


def constant() -> Peer:
    port = free_port()
    return Peer([sys.executable, "-c", CONSTANT, str(port)], port, {})


def settle(*cores: int, first: bool = False) -> None:
    """This process on these cores; `first`: before everything else on the machine, which needs root.

    By weight, not in real time: there a process's own threads would wait for each other for a tenth of a second.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, set(cores))
    if first:
        os.setsid()  # Linux shares the processors among sessions, and only then among their processes
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text("-20")
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def forked() -> None:
    """Go on in a process that leads no session yet, and so may lead one of its own; this one ends as that does."""
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@contextlib.contextmanager
def started(peer: Peer, *cores: int, first: bool = False) -> Iterator[int]:
    """A server on its core, or on those that are named, listening; its process id."""
    process = subprocess.Popen(
        peer.command,
        env={**os.environ, **peer.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: settle(*(cores or (SERVER_CORE,)), first=first),  # no thread runs in this process
    )
    try:
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", peer.port)).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{peer.command} ended with {process.returncode}") from None
                time.sleep(0.01)
        yield process.pid
    finally:
        for pid in tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def tree(pid: int) -> list[int]:
    """A process and all that it has started, and they in turn."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for known in found:
        found += children.get(known, ())
    return found


def cpu(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
