"""Sockets to listen on, and who holds a port that is taken."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import re
import select
import socket
import struct
from asyncio import BaseTransport
from collections.abc import Iterator
from pathlib import Path

from wherry.errors import AddressUnusable, PortTaken

BACKLOG = 1024  # connections that the kernel makes and keeps for us
UNSENT = 64 * 1024  # bytes of replies that the kernel takes for a client which does not read, beside what is on its way
NEXT_PORTS = 50  # ports after a busy one that are tried
ATTACH_FILTER = 26  # SO_ATTACH_FILTER of Linux, which the socket module does not name; elsewhere no such option
# A program for the kernel's packet filter: load the byte of TCP flags; with SYN set drop the packet, else keep it.
NO_SYN = b"".join(
    struct.pack("HBBI", *step)
    for step in ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)


def bind(host: str, port: int, *, setting: str = "--port", listen: bool = True) -> socket.socket:
    """A bound socket, whose connections are accepted only later; not `listen`: none can be made yet.

    Raises PortTaken, AddressUnusable.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise AddressUnusable(host, port, error.strerror or str(error)) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(AttributeError, OSError):  # not every system has it; connections inherit it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        if family == socket.AF_INET6 and address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        if listen:
            sock.listen(BACKLOG)  # two sockets may bind one port and fight over it here: the second must fail now
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, holder(port), setting) from error
        raise AddressUnusable(host, port, error.strerror or str(error)) from error
    sock.setblocking(False)
    return sock


def bind_next(host: str, port: int, taken: frozenset[int]) -> socket.socket:
    """A bound socket on `port` or, where that is busy, on the next free one that is not in `taken`."""
    last: PortTaken | None = None
    for candidate in range(port, min(port + NEXT_PORTS, 65536)):
        if candidate in taken:
            continue
        try:
            return bind(host, candidate, setting="--admin-port")
        except PortTaken as error:
            last = last or error
    raise last or PortTaken(host, port, setting="--admin-port")


def deafen(sock: socket.socket) -> None:
    """Let no further connection begin; one that is being made is still made, and can be accepted.

    Whoever begins one finds the port closed a second later. Where this cannot be had (not Linux), nothing changes.
    """
    steps = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
    program = struct.pack("HP", len(NO_SYN) // 8, ctypes.addressof(steps))
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)


def waiting(sock: socket.socket) -> Iterator[socket.socket]:
    """The connections of a listening socket that nobody has accepted yet, accepted."""
    for _ in range(BACKLOG + 1):  # no more can wait: what comes meanwhile must not keep us
        try:
            yield sock.accept()[0]
        except OSError:
            return


def unread(transport: BaseTransport) -> bool:
    """Whether bytes have come that nobody has read yet: who closes such a connection throws them away and resets it."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def holder(port: int) -> str:
    """The process that listens on `port`, as far as this user may know: "nginx (process id 17)"; else empty."""
    inodes = listening(port)
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if inodes & links(process):
                words = (process / "cmdline").read_bytes().split(b"\0")
                command = " ".join(word.decode(errors="replace") for word in words if word)
                return f"{command[:120] or 'a process'} (process id {process.name})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return ""


def links(process: Path) -> set[str]:
    """What the open files of a process are; one that is closed meanwhile is left out."""
    found = set()
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def listening(port: int) -> set[str]:
    """The sockets that listen on `port`, as /proc names them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            if parts[3] == "0A" and re.fullmatch(rf"[0-9A-F]+:{port:04X}", parts[1]):
                found.add(f"socket:[{parts[9]}]")
    return found


def everywhere(sock: socket.socket) -> str:
    """HOST:PORT of a socket that is bound to every address, of which none is the one to use; empty for any other."""
    host, port = sock.getsockname()[:2]
    return {"0.0.0.0": f"0.0.0.0:{port}", "::": f"[::]:{port}"}.get(host, "")


def address_text(sock: socket.socket) -> str:
    """HOST:PORT that a client on this machine can use."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
