"""HTTPS: the same service under TLS, its limits included, and certificates that are replaced while it runs."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import ssl
import subprocess
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import EXAMPLE, Linearly, Running, parse, replies, request, until

from wherry.contract.project import Serve
from wherry.errors import FileMissing, SettingsRefused, UsageRefused
from wherry.server.limits import Limits
from wherry.server.run import certificate_of
from wherry.server.tls import Certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
BODY = json.dumps(EXAMPLE).encode()


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine, which names `name`, and its key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip  # a command line
    return chain, key


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return made(tmp_path, "first")


def trusting(chain: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(chain))


def asked(address: tuple[str, int], context: ssl.SSLContext, data: bytes) -> bytes:
    with socket.create_connection(address, 10) as sock, context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
        tls.sendall(data)
        return tls.makefile("rb").read()


def name_of(address: tuple[str, int], context: ssl.SSLContext) -> str:
    """The name in the certificate that a new connection is shown."""
    with socket.create_connection(address, 10) as sock, context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
        found = tls.getpeercert()
        assert found is not None
        return dict(part[0] for part in found["subject"])["commonName"]


@pytest.mark.parametrize("make", [None, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_service_answers_under_tls(pair: tuple[Path, Path], make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with Running(Linearly(), loop=make and make(), certificate=Certificate(*pair)) as service:
        found = asked(service.address, trusting(pair[0]), request("POST", "/predict", BODY, close=True))
        assert parse(found)[0].json == {"prediction": 1}
        many = b"".join(request("POST", "/predict", BODY) for _ in range(40))
        last = request("GET", "/info", close=True)
        assert len(replies(asked(service.address, trusting(pair[0]), many + last))) == 41
        rows = json.dumps([EXAMPLE] * 20_000).encode()  # larger than any buffer, both ways
        found = asked(service.address, trusting(pair[0]), request("POST", "/predict", rows, close=True))
        assert parse(found)[0].json == {"predictions": [1] * 20_000}
        until(lambda: not service.port.connections)


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("make", [None, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_connection_that_ended_frees_its_memory_at_once(
    pair: tuple[Path, Path], make: Callable[[], asyncio.AbstractEventLoop] | None, secured: bool
) -> None:
    """P9: left to the collector, which comes seldom, megabytes waited for it where clients connect anew."""
    certificate = Certificate(*pair) if secured else None
    gc.collect()
    gc.disable()
    try:
        with Running(Linearly(), loop=make and make(), certificate=certificate) as service:
            socks = [socket.create_connection(service.address, 10) for _ in range(3)]
            if secured:
                socks = [trusting(pair[0]).wrap_socket(sock, server_hostname="127.0.0.1") for sock in socks]
            for sock in socks:
                sock.sendall(request("POST", "/predict", BODY))
                assert sock.recv(12) == b"HTTP/1.1 200"
            held = [weakref.ref(each) for each in list(service.port.connections)]
            assert len(held) == 3 and all(each() is not None for each in held)
            for sock in socks:
                sock.close()
            until(lambda: not any(each() for each in held))
    finally:
        gc.enable()


def test_older_protocols_and_strangers_are_refused(pair: tuple[Path, Path]) -> None:
    with Running(Linearly(), certificate=Certificate(*pair)) as service:
        old = trusting(pair[0])
        with pytest.warns(DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            asked(service.address, old, b"")
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(service.address, ssl.create_default_context(), b"")
        with socket.create_connection(service.address, 10) as plain:
            plain.sendall(request("GET", "/livez"))
            assert b"https://" in plain.makefile("rb").read()
        until(lambda: not service.port.connections)


def test_limits_hold_during_the_handshake_and_after(pair: tuple[Path, Path]) -> None:
    limits = Limits(header_seconds=0.3, connections=3, body_bytes=2048)
    with Running(Linearly(), limits=limits, certificate=Certificate(*pair)) as service:
        silent = [socket.create_connection(service.address, 10) for _ in range(3)]
        until(lambda: len(service.port.connections) == 3)
        # The oldest of those that never greet makes room, and the others are closed in time.
        assert parse(asked(service.address, trusting(pair[0]), request("GET", "/livez", close=True)))[0].status == 200
        for sock in silent:
            with sock:
                assert _ended(sock)
        large = asked(service.address, trusting(pair[0]), request("POST", "/predict", b" " * 4096))
        assert parse(large)[0].status == 413


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_replaced_certificate_is_used_once_it_is_whole(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    chain, key = pair
    second = made(tmp_path, "second")
    both = trusting(chain)
    both.load_verify_locations(second[0])
    with Running(Linearly(), certificate=Certificate(chain, key)) as service:
        assert name_of(service.address, both) == "first"
        new = tmp_path / "new"
        new.write_bytes(second[0].read_bytes())
        new.replace(chain)  # without its key: no pair yet
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            assert name_of(service.address, both) == "first"
        new.write_bytes(second[1].read_bytes())
        new.replace(key)
        until(lambda: name_of(service.address, both) == "second")


def test_files_that_are_no_pair_are_refused_by_name(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    other = made(tmp_path, "other")
    with pytest.raises(UsageRefused, match=r"no certificate with its key: key values mismatch"):
        Certificate(pair[0], other[1])
    with pytest.raises(FileMissing, match="key"):
        Certificate(pair[0], tmp_path / "none")
    with pytest.raises(SettingsRefused, match="tls_key"):
        certificate_of(Serve(tls_cert=str(pair[0])))
    assert certificate_of(Serve()) is None
