"""Bundles and services for the tests of the serving path."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest
import uvloop

from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import FORMAT, Conversion, Golden, Manifest, Measured, Origin
from wherry.contract.project import Project, Serve
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs, Row
from wherry.errors import StoreFailed
from wherry.model import bundle, requirements
from wherry.model.flavors.linear import Form, Linear
from wherry.model.loaded import sound
from wherry.server.about import About
from wherry.server.app import App
from wherry.server.auth import Tokens
from wherry.server.doorways import Doorways
from wherry.server.drain import Life
from wherry.server.journal import Entry, Journal, NoJournal
from wherry.server.limits import Limits
from wherry.server.metrics import Metrics
from wherry.server.mounted import Mounted
from wherry.server.port import Port
from wherry.server.predictions import Predictions
from wherry.server.predictor import Cost, Predictor
from wherry.server.predictor import Measured as Counting
from wherry.server.replies import Replies
from wherry.server.tls import Certificate

NAMES = ("concavity_mean", "concave_points_mean", "perimeter_se", "area_se", "texture_worst", "area_worst")
EXAMPLE = dict(zip(NAMES, (0.3001, 0.1471, 8.589, 153.4, 17.33, 2019.0), strict=True))
WEIGHTS = (2.0, 3.0, 0.1, 0.01, 0.05, 0.001)
BIAS = -3.0
SIGNATURE = Signature(
    columns=tuple(Column(name, "number", low=0.0, high=10 * value, example=value) for name, value in EXAMPLE.items()),
    output=OutputSpec("class", "integer", classes=(0, 1), probabilities=True),
    target="diagnosis",
    unused=("id",),
)
MIXED = Signature(
    columns=(
        Column("size", "number", nullable=True, low=0.0, high=5.0),
        Column("rooms", "integer", low=1, high=9),
        Column("garden", "boolean"),
        Column("city", "string", categories=("Bergen", "Oslo"), unknown_ok=False),
    ),
    output=OutputSpec("number", "number"),
)


def manifest_of(signature: Signature = SIGNATURE, *, rows: int = 0, name: str = "breast") -> Manifest:
    return Manifest(
        format=FORMAT,
        name=name,
        version="1",
        digest="",
        flavor="linear",
        model="model.npz",
        signature=signature,
        golden=Golden("golden.json", rows),
        baseline="baseline.json",
        requirements=requirements.here("linear"),
        files={},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(0.1, 50_000_000),
    )


def label_of(row: Sequence[Any]) -> int:
    return int(sum(w * x for w, x in zip(WEIGHTS, row, strict=True)) + BIAS > 0)


def golden_of(count: int = 8) -> GoldenRows:
    rows = tuple(tuple(value * (0.1 + 0.2 * k) for value in EXAMPLE.values()) for k in range(count))
    return GoldenRows(NAMES, rows, tuple(label_of(row) for row in rows))


def linear_bundle(folder: Path, *, golden: bool = True) -> Path:
    """A bundle that needs numpy alone."""
    count = len(NAMES)
    model = Linear(
        form=Form("sign", "sigmoid", (0, 1), tuple(range(count)), ()),
        weights=np.array(WEIGHTS)[:, None],
        bias=np.array([BIAS]),
        center=np.zeros(count),
        low=np.full(count, -np.inf),
        high=np.full(count, np.inf),
        missing=np.full((count, 1), np.nan),
        table=np.zeros((0, 1)),
    )
    rows = golden_of() if golden else GoldenRows(NAMES, (), ())
    files = {
        "model.npz": model.dump(),
        "golden.json": msgspec.json.encode(rows),
        "baseline.json": b"{}",
        "example.json": json.dumps(EXAMPLE).encode(),
    }
    bundle.write(folder, manifest_of(rows=len(rows.rows)), files)
    return folder


def code_bundle(folder: Path, code: str, name: str = "service.py", data: Path | None = None) -> Path:
    """A bundle of Python code. The service loads it anew, so what that takes is not measured here."""
    from wherry.model.pack import pack_file

    (folder / name).write_text(dedent(code))
    with mock.patch("wherry.model.measure.measure", lambda folder: Measured(0.1, 100_000_000)):
        pack_file(folder / name, data=data, target=None, trust=True, to=folder / "bundle")
    return folder / "bundle"


class Fake:
    """A model made of a function from a row to a prediction; it may raise, be slow, or come to NaN, as loaded ones."""

    def __init__(self, answer: Callable[[Row], Any], *, seconds: float = 0.0) -> None:
        self.answer, self.seconds = answer, seconds
        self.calls: list[int] = []

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        self.calls.append(len(rows))
        if self.seconds:
            time.sleep(self.seconds)
        return sound(Outputs([self.answer(row) for row in rows]), len(rows))


class Kept:
    """A journal that remembers, and can refuse."""

    where = "memory"

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.appended: list[Entry] = []
        self.commits = 0
        self.failing = False

    def append(self, entry: Entry) -> None:
        self.appended.append(entry)

    def commit(self) -> None:
        taken, self.appended = self.appended, []
        self.commits += 1
        if self.failing:
            raise StoreFailed("/spool/secret", "the disk is gone")
        self.entries += taken

    def __getattr__(self, name: str) -> Any:
        return getattr(NoJournal(), name)


class Linearly:
    """The linear bundle's model, without a file."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        answers = [label_of(row) for row in rows]
        return Outputs(answers, [[1.0 - 0.9 * a, 0.9 * a] for a in answers])


# What services listen with that are not told: their own "port", or as an ASGI application under "uvicorn".
UNDER = {"is": "port"}


class Running:
    """A service in this process, on a thread of its own."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        signature: Signature = SIGNATURE,
        project: Project | None = None,
        limits: Limits | None = None,
        cost: Cost | None = None,
        journal: Journal | None = None,
        tokens: Path | None = None,
        golden: GoldenRows | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        certificate: Certificate | None = None,
        under: str = "",
    ) -> None:
        project = project or Project()
        self.metrics, self.life = Metrics(), Life()
        self.loop = loop or uvloop.new_event_loop()
        manifest = manifest_of(signature).sealed()
        replies = Replies(manifest, project, self.metrics)
        self.predictions = Predictions(
            manifest,
            golden or golden_of(),
            Counting(predictor, self.metrics),
            cost or Cost(1e-6, 1e-6),
            project,
            replies,
            loop=self.loop,
            journal=journal or NoJournal(),
            metrics=self.metrics,
        )
        accepted = Tokens(tokens) if tokens else None
        app = App(
            project,
            [Doorways(manifest, project, self.predictions, replies, self.life)],
            About(manifest, project),
            self.life,
            tokens=accepted,
            admin="a:8082",
        )
        self.server: Any = None
        if (under or UNDER["is"]) == "uvicorn":
            mounted = Mounted(app, limits or Limits(), self.loop)
            self.port, self.server = mounted.port, under_uvicorn(mounted)
        else:
            self.port = Port(app, limits or Limits(), self.loop, certificate)
        self.life.stage = "ready"
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.address = self.sock.getsockname()[:2]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        if self.server is None:
            self.loop.run_until_complete(self.port.open(self.sock))
            self.loop.run_forever()
        else:
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self.server.serve([self.sock]))
        self.port.stop_listening()
        self.port.abort()
        self.predictions.close()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is None:
            self.loop.call_soon_threadsafe(self.loop.stop)
        else:
            self.server.should_exit = True
        self.thread.join(10)
        self.sock.close()

    def ask(self, *args: Any, **kwargs: Any) -> Answer:
        return ask(self.address, *args, **kwargs)


def under_uvicorn(mounted: Any) -> Any:
    """uvicorn's server of an application, without a signal or a word of its own."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn")
    return uvicorn.Server(
        uvicorn.Config(mounted, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )


class Answer:
    """One reply."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def raw(address: tuple[str, int], data: bytes, *, timeout: float = 10.0, half_close: bool = False) -> bytes:
    """Everything that comes back for `data`, until the service closes."""
    with socket.create_connection(address, timeout=timeout) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


def parse(data: bytes, *, head: bool = False) -> tuple[Answer, bytes]:
    """The first reply in `data`, and what follows it."""
    top, found, rest = data.partition(b"\r\n\r\n")
    assert found, data
    lines = top.split(b"\r\n")
    headers = {k.strip().decode().lower(): v.strip().decode() for k, _, v in (x.partition(b":") for x in lines[1:])}
    size = 0 if head else int(headers.get("content-length", "0"))
    assert len(rest) >= size, data
    return Answer(int(lines[0].split()[1]), headers, rest[:size]), rest[size:]


def replies(data: bytes) -> list[Answer]:
    found = []
    while data:
        answer, data = parse(data)
        found.append(answer)
    return found


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, close: bool = False
) -> bytes:
    sent = {"Host": "127.0.0.1", **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    if close:
        sent["Connection"] = "close"
    if body or method == "POST":
        sent.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{key}: {value}\r\n" for key, value in sent.items() if value != "-")
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def ask(
    address: tuple[str, int],
    method: str,
    path: str,
    body: Any = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own. A body that is no bytes is sent as JSON; a header "-" is left out."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(raw(address, request(method, path, data, headers, close=True)), head=method == "HEAD")[0]


def predict(address: tuple[str, int], body: Any, **headers: str) -> Answer:
    return ask(address, "POST", "/predict", body, headers)


def project(**serve: Any) -> Project:
    return Project(serve=Serve(**serve))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def child(folder: Path, **environ: str) -> Iterator[Child]:
    """`python -m wherry.server` on `folder`, ready."""
    service = Child(folder, environ)
    try:
        service.wait_ready()
        yield service
    finally:
        service.process.kill()
        service.process.wait()
        service.log.close()


class Child:
    """A service in a process of its own."""

    def __init__(self, folder: Path, environ: Mapping[str, str], before: Sequence[str] = ()) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.address, self.admin = ("127.0.0.1", self.port), ("127.0.0.1", self.admin_port)
        self.path = folder.parent / f"log-{self.port}.txt"
        self.log = self.path.open("wb")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "wherry.server"],
            env={
                **kept,
                "WHERRY_BUNDLE": str(folder),
                "WHERRY_SERVE_PORT": str(self.port),
                "WHERRY_SERVE_ADMIN_PORT": str(self.admin_port),
                "WHERRY_STORE_ENABLED": "false",
                **environ,
            },
            cwd=folder.parent,
            stdout=self.log,
            stderr=self.log,
        )

    @property
    def said(self) -> str:
        return self.path.read_text()

    def wait_ready(self) -> None:
        until(self.is_ready, seconds=20, what=lambda: self.said)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.said
        with contextlib.suppress(OSError):
            return ask(self.address, "GET", "/readyz").status == 200
        return False


def until(condition: Callable[[], bool], *, seconds: float = 10.0, what: Callable[[], str] = str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.005)


def metrics(service: Child) -> str:
    return ask(service.admin, "GET", "/metrics").body.decode()


def counted(text: str, name: str, **labels: str) -> float:
    """The sum of the lines of one metric that bear all of the labels."""
    lines = [line for line in text.splitlines() if re.match(rf"{name}[{{ ]", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(f'{k}="{v}"' in line for k, v in labels.items()))
