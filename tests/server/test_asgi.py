"""A model as an ASGI application: under a real server, below a path of another application, and called by itself.

That its doors are those of the service's own port is tried by the tests of the doors, which run under uvicorn too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import (
    EXAMPLE,
    Answer,
    Fake,
    Linearly,
    Running,
    ask,
    free_port,
    linear_bundle,
    predict,
    project,
    raw,
    replies,
    request,
    until,
)

from wherry import asgi
from wherry.errors import ModelFailed, SettingsRefused
from wherry.model import bundle
from wherry.server import hosted
from wherry.server.limits import Limits
from wherry.server.mounted import Mounted
from wherry.server.predictor import Cost

pytest.importorskip("uvicorn", reason="needs uvicorn")
BODY = json.dumps(EXAMPLE).encode()
OFF = {"store": {"enabled": False}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, in the working directory."""
    monkeypatch.chdir(tmp_path)
    linear_bundle(tmp_path / "bundle")
    return tmp_path


class Child:
    """`uvicorn main:app` in a process of its own."""

    def __init__(self, folder: Path, main: str, *words: str) -> None:
        (folder / "main.py").write_text(main)
        self.address, self.log = ("127.0.0.1", free_port()), folder / "log.txt"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "main:app", "--port", str(self.address[1]), *words],
                cwd=folder,
                env=kept,
                stdout=log,
                stderr=log,
            )

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None) -> Answer:
        return ask(self.address, method, path, body, headers)

    def ready(self, path: str = "/readyz") -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                return self.ask("GET", path).status == 200
            return False

        until(answers, seconds=30, what=self.log.read_text)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def uvicorn(folder: Path) -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(main: str, *words: str) -> Child:
        started.append(Child(folder, main, *words))
        return started[-1]

    yield start
    for child in started:
        child.process.kill()
        child.process.wait()


PLAIN = 'from wherry import asgi\n\napp = asgi.app("bundle")\n'


def test_uvicorn_serves_it_and_its_end_loses_nothing(uvicorn: Callable[..., Child], folder: Path) -> None:
    child = uvicorn(PLAIN)
    child.ready()
    answers = [child.ask("POST", "/predict", EXAMPLE) for _ in range(5)]
    assert [answer.json for answer in answers] == [{"prediction": 1}] * 5
    assert answers[0].headers["server"] == "uvicorn"
    assert len({answer.headers["x-prediction-id"] for answer in answers}) == 5
    assert "date" in answers[0].headers
    assert child.ask("GET", "/history").status == 403, "who can reach it is not known here"
    child.stop()
    assert "Application shutdown complete" in child.log.read_text()
    with contextlib.closing(sqlite3.connect(folder / ".wherry" / "predictions.db")) as database:
        (count,) = database.execute("select count(*) from predictions").fetchone()
    assert count == 5


def test_each_of_several_workers_keeps_what_it_answers(uvicorn: Callable[..., Child], folder: Path) -> None:
    child = uvicorn(PLAIN, "--workers", "2")
    child.ready()
    until(lambda: child.log.read_text().count("Application startup complete") == 2, seconds=30)
    for _ in range(20):
        assert child.ask("POST", "/predict", EXAMPLE).status == 200
    child.stop()
    with contextlib.closing(sqlite3.connect(folder / ".wherry" / "predictions.db")) as database:
        (count,) = database.execute("select count(*) from predictions").fetchone()
    assert count == 20


def test_several_models_answer_and_keep(uvicorn: Callable[..., Child], folder: Path) -> None:
    first = bundle.verify(folder / "bundle")
    files = {name: (folder / "bundle" / name).read_bytes() for name in first.files}
    bundle.write(folder / "next", msgspec.structs.replace(first, version="2"), files)
    (folder / "wherry.toml").write_text('[serve]\nbundles = ["next"]\n')
    child = uvicorn(PLAIN, "--workers", "2")
    child.ready()
    for path, version in (
        ("/predict", "1"),
        ("/models/breast/predict", "1"),
        ("/models/breast/versions/2/predict", "2"),
    ):
        answer = child.ask("POST", path, EXAMPLE)
        assert (answer.json, answer.headers["x-model-version"]) == ({"prediction": 1}, version)
    assert child.stop() == 0
    with contextlib.closing(sqlite3.connect(folder / ".wherry" / "predictions.db")) as database:
        kept = database.execute("select model_version, count(*) from predictions group by 1 order by 1").fetchall()
    assert kept == [("1", 2), ("2", 1)]


def test_a_bundle_that_is_damaged_never_serves(uvicorn: Callable[..., Child], folder: Path) -> None:
    (folder / "bundle" / "model.npz").write_bytes(b"damaged")
    child = uvicorn(PLAIN)
    assert child.process.wait(30) != 0
    said = child.log.read_text()
    assert "model.npz" in said
    assert "Application startup failed" in said


BELOW = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from wherry import asgi

async def hello(request):
    return PlainTextResponse("hello")

model = asgi.app("bundle", settings={"store": {"enabled": False}})
routes = [Route("/", hello), Mount("/watch", model.admin), Mount("/models/breast", model)]
app = Starlette(routes=routes, lifespan=LIFESPAN)
"""


@pytest.mark.parametrize("lifespan", ["model.lifespan", "None"])
def test_it_is_mounted_below_a_path(uvicorn: Callable[..., Child], lifespan: str) -> None:
    child = uvicorn(BELOW.replace("LIFESPAN", lifespan))
    child.ready("/")
    assert child.ask("GET", "/").body == b"hello"
    assert child.ask("GET", "/watch/readyz").json == {"status": "ready"}
    assert child.ask("POST", "/models/breast/predict", EXAMPLE).json == {"prediction": 1}
    assert child.ask("GET", "/models/breast/readyz").status == 200
    assert child.ask("POST", "/predict", EXAMPLE).status == 404
    wrong = child.ask("POST", "/models/breast/predict", {**EXAMPLE, "area_se": "x"})
    assert wrong.status == 422
    assert wrong.json["curl"].endswith(" http://127.0.0.1/models/breast/predict")
    document = child.ask("GET", "/models/breast/openapi.json").json
    assert document["servers"] == [{"url": "/models/breast"}]
    assert "`admin`" in child.ask("GET", "/models/breast/metrics").json["hint"]
    text = child.ask("GET", "/watch/metrics").body.decode()
    assert 'wherry_requests_total{door="native",status="200"} 1\n' in text
    assert 'wherry_requests_total{door="native",status="422"} 1\n' in text
    assert "wherry_ready 1\n" in text
    child.stop()


def test_what_is_in_flight_is_finished_when_the_server_ends() -> None:
    with Running(Fake(lambda row: 1, seconds=0.3), cost=Cost(0.3, 0.0), under="uvicorn") as service:
        found: list[Answer] = []
        caller = threading.Thread(target=lambda: found.append(predict(service.address, EXAMPLE)))
        caller.start()
        until(lambda: service.port.in_flight == 1)
    caller.join(10)
    assert [answer.status for answer in found] == [200]


# Called as a server calls it


class Call:
    """One request to an application, and what it answered."""

    def __init__(self, parts: Iterable[bytes] = (b"",), *, stay: bool = True, more: bool = False) -> None:
        self.parts, self.stay, self.more = list(parts), stay, more
        self.taken = 0
        self.status, self.headers, self.body = 0, {}, b""

    async def receive(self) -> Any:
        if self.taken < len(self.parts):
            self.taken += 1
            last = self.taken == len(self.parts) and not self.more
            return {"type": "http.request", "body": self.parts[self.taken - 1], "more_body": not last}
        if self.stay:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]

    async def to(self, application: Any, path: str = "/predict", headers: Any = (), **scope: Any) -> Call:
        sent = [(b"host", b"example.org"), (b"content-type", b"application/json"), *headers]
        whole = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": sent, **scope}
        await application(whole, self.receive, self.send)
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def within(limits: Limits | None = None, model: Any = None, cost: Cost | None = None) -> Any:
    """Runs a test with an application whose model is made up."""

    def run(test: Callable[[Any, Running], Any]) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            service = Running(model or Linearly(), loop=loop, cost=cost, under="port", project=project(host="0.0.0.0"))
            mounted = Mounted(service.port.site, limits or Limits(), loop)
            service.port = mounted.port
            try:
                await test(mounted, service)
            finally:
                mounted.close()
                service.predictions.close()
                service.sock.close()

        asyncio.run(main())

    return run


def test_a_body_over_the_limit_is_refused_while_it_comes() -> None:
    async def test(application: Any, service: Running) -> None:
        endless = Call([b"x" * 600] * 100)
        await endless.to(application)
        assert endless.status == 413
        assert endless.taken == 2, "the rest was never asked for"
        assert endless.headers["connection"] == "close"
        announced = await Call([BODY]).to(application, headers=[(b"content-length", b"5000")])
        assert (announced.status, announced.taken) == (413, 0)
        whole = await Call([BODY[:9], BODY[9:]]).to(application)
        assert whole.json == {"prediction": 1}
        assert service.port.in_flight == 0

    within(Limits(body_bytes=1000))(test)


def test_what_the_port_would_not_read_is_not_read_here() -> None:
    async def test(application: Any, service: Running) -> None:
        for status, headers, path in (
            (400, [(b"content-type", b"text/csv")], "/predict"),
            (415, [(b"content-encoding", b"gzip")], "/predict"),
            (414, [], "/" + "x" * 9000),
            (431, [(b"x-%d" % number, b"") for number in range(200)], "/predict"),
            (431, [(b"x", b"y" * 20_000)], "/predict"),
            (404, [], "/nowhere"),
        ):
            answer = await Call([BODY]).to(application, path, headers)
            assert answer.status == status, answer.body
            assert answer.json["request_id"] == answer.headers["x-request-id"]
        twice = await Call([BODY]).to(application, headers=[(b"accept", b"a/b"), (b"accept", b"c/d")])
        assert twice.status == 200

    within()(test)


def test_deadlines_are_kept() -> None:
    async def test(application: Any, service: Running) -> None:
        dripping = await Call([b"{"], more=True).to(application)
        assert dripping.status == 408
        late = await Call([BODY]).to(application)
        assert late.status == 504
        assert service.port.in_flight == 0

    within(Limits(request_seconds=0.3), Fake(lambda row: 1, seconds=0.6), Cost(0.6, 0.0))(test)


def test_nothing_is_scored_for_a_client_that_has_gone() -> None:
    model = Fake(lambda row: 1, seconds=0.8)

    async def test(application: Any, service: Running) -> None:
        first = asyncio.ensure_future(Call([BODY]).to(application))
        await asyncio.sleep(0.05)  # it is in the model: what comes now waits for it
        gone, stays = Call([BODY], stay=False), Call([BODY])
        await asyncio.gather(first, gone.to(application), stays.to(application))
        assert (gone.status, stays.status) == (0, 200)
        assert model.calls == [1, 1], "one call for the first, one for the one that stayed"
        cancelled = asyncio.ensure_future(Call([BODY]).to(application))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled
        assert service.port.in_flight == 0

    within(model=model, cost=Cost(0.8, 0.0))(test)


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("", "/v1/models/breast"),
        ("/m", "/m/v1/models/breast"),
        ("/m", "/v1/models/breast"),
        ("/m/", "/v1/models/breast"),
    ],
)
def test_servers_leave_the_root_in_the_path_or_take_it_out(root: str, path: str) -> None:
    async def test(application: Any, service: Running) -> None:
        answer = await Call().to(application, path, root_path=root, method="GET")
        assert answer.json == {"name": "breast", "ready": True}
        other = await Call().to(application, "/more/predict", root_path="/m", method="POST")
        assert other.status == 404

    within()(test)


def test_a_model_that_fails_says_no_more_than_behind_its_own_port() -> None:
    def fail(row: Any) -> int:
        raise ModelFailed("a secret")

    async def test(application: Any, service: Running) -> None:
        answer = await Call([BODY]).to(application)
        assert answer.status == 500
        assert b"secret" not in answer.body

    within(model=Fake(fail))(test)


# The application as it is made


@contextlib.asynccontextmanager
async def begun(application: Any) -> AsyncIterator[Any]:
    async with application.lifespan():
        yield application


def test_two_first_requests_load_it_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load = [], hosted.prepare
    monkeypatch.setattr(hosted, "prepare", lambda *words: loads.append(1) or load(*words))

    async def main() -> None:
        application = asgi.app(settings=OFF)
        calls = await asyncio.gather(*(Call([BODY]).to(application) for _ in range(3)))
        assert [call.status for call in calls] == [200] * 3
        await application.close()

    asyncio.run(main())
    assert len(loads) == 1


def test_it_answers_probes_while_it_ends(folder: Path) -> None:
    async def main() -> None:
        application = asgi.app(settings=OFF)
        async with begun(application):
            assert (await Call().to(application, "/readyz", method="GET")).status == 200
            (await application.running()).life.stage = "draining"
            assert (await Call().to(application, "/readyz", method="GET")).status == 503
            assert (await Call().to(application.admin, "/readyz", method="GET")).status == 503

    asyncio.run(main())


def test_settings_come_from_the_file_the_words_and_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "wherry.toml").write_text('[reply]\nrecord = { score = "$prediction" }\n[store]\nenabled = false\n')
    monkeypatch.setenv("WHERRY_SERVE_PROBABILITIES", "never")

    async def main() -> None:
        async with begun(asgi.app("bundle")) as application:
            assert (await Call([BODY]).to(application)).json == {"score": 1}
            refused = await Call([BODY]).to(application, query_string=b"probabilities=true")
            assert refused.status == 403
        async with begun(asgi.app("bundle", settings=OFF)) as application:
            assert (await Call([BODY]).to(application)).json == {"prediction": 1}

    asyncio.run(main())
    with pytest.raises(SettingsRefused):
        asgi.app(settings={"serve": {"wrong": 1}})


def test_a_websocket_is_closed(folder: Path) -> None:
    said: list[Any] = []

    async def main() -> None:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message["type"])

        await asgi.app(settings=OFF)({"type": "websocket", "path": "/"}, receive, send)

    asyncio.run(main())
    assert said == ["websocket.close"]


def test_under_uvicorn_is_uvicorn() -> None:
    """What the tests of the doors rely on; and after a refusal that left a body unread the connection ends."""
    with Running(Linearly(), under="uvicorn", limits=Limits(body_bytes=1000)) as service:
        assert predict(service.address, EXAMPLE).headers["server"] == "uvicorn"
        large = raw(service.address, request("POST", "/predict", b"x" * 5000) * 2)
        assert [answer.status for answer in replies(large)] == [413]
    with Running(Linearly(), under="port") as service:
        assert "server" not in predict(service.address, EXAMPLE).headers
