"""What every request passes, and what the service says about itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import (
    EXAMPLE,
    MIXED,
    NAMES,
    Answer,
    Fake,
    Kept,
    Linearly,
    Running,
    golden_of,
    label_of,
    parse,
    predict,
    project,
    raw,
    replies,
    request,
    until,
)

from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.project import Project, Serve
from wherry.contract.reply import Reply
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Rows
from wherry.errors import TokenRefused
from wherry.server.auth import Tokens, is_loopback
from wherry.server.metrics import CLASSES, Metrics, Ranges
from wherry.server.predictions import BIG
from wherry.server.predictor import Cost

TIMED = 10_000 if os.environ.get("WHERRY_TEST_LONG") == "1" else 1000  # samples
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def service(under: str) -> Iterator[Running]:
    with Running(Linearly(), under=under) as running:
        yield running


@pytest.fixture(scope="module")
def port() -> Iterator[Running]:
    """For what is read from the wire."""
    with Running(Linearly(), under="port") as running:
        yield running


def test_shuffled_columns_get_equal_answers(service: Running) -> None:
    for row in golden_of().rows:
        record = dict(zip(NAMES, row, strict=True))
        turned = dict(reversed(record.items()))
        query = "&".join(f"{key}={value!r}" for key, value in turned.items())
        answers = [
            predict(service.address, record).json["prediction"],
            predict(service.address, turned).json["prediction"],
            predict(service.address, [turned]).json["predictions"][0],
            predict(service.address, {"columns": list(turned), "rows": [list(turned.values())]}).json["predictions"][0],
            service.ask("GET", f"/predict?{query}").json["prediction"],
        ]
        assert answers == [label_of(row)] * 5


def test_every_reply_says_which_model_and_which_request(service: Running) -> None:
    for answer in (
        predict(service.address, EXAMPLE, **{"X-Request-Id": "mine:1"}),
        predict(service.address, {}, **{"X-Request-Id": "mine:1"}),
        service.ask("GET", "/nowhere", headers={"X-Request-Id": "mine:1"}),
        service.ask("GET", "/info", headers={"X-Request-Id": "mine:1"}),
    ):
        assert answer.headers["x-request-id"] == "mine:1"
        assert answer.headers["x-model-version"] == "1"
        assert re.fullmatch("[0-9a-f]{64}", answer.headers["x-model-digest"])
        assert answer.headers["date"].endswith("GMT")


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "<script>", "é"])
def test_an_id_that_could_do_harm_is_not_taken_over(service: Running, sent: str) -> None:
    headers = {"X-Request-Id": sent}
    data = request("POST", "/predict", json.dumps(EXAMPLE).encode(), headers, close=True)
    found = replies(raw(service.address, data))[0]
    assert UUID7.fullmatch(found.headers["x-request-id"])


def test_a_prediction_has_an_id_of_its_own(service: Running) -> None:
    first, second = (predict(service.address, EXAMPLE, **{"X-Request-Id": "one"}) for _ in range(2))
    ids = {first.headers["x-prediction-id"], second.headers["x-prediction-id"]}
    assert len(ids) == 2
    assert all(UUID7.fullmatch(found) for found in ids)


def test_probabilities_are_given_when_asked(service: Running) -> None:
    answer = service.ask("POST", "/predict?probabilities=true", EXAMPLE)
    assert answer.json == {"prediction": 1, "probabilities": pytest.approx([0.1, 0.9])}
    query = "&".join(f"{key}={value}" for key, value in EXAMPLE.items())
    assert "probabilities" in service.ask("GET", f"/predict?{query}&probabilities=true").json
    assert service.ask("POST", "/predict?probabilities=false", EXAMPLE).json == {"prediction": 1}
    with Running(Linearly(), project=project(probabilities="always")) as always:
        assert "probabilities" in predict(always.address, EXAMPLE).json


@pytest.mark.usefixtures("under")
def test_a_model_without_probabilities_says_so() -> None:
    with Running(Fake(lambda row: 1.5), signature=MIXED) as service:
        assert service.ask("POST", "/predict?probabilities=true", {"size": 1}).status in (403, 422)


def test_paths(service: Running) -> None:
    assert service.ask("GET", "/health").json == {"status": "ok"}
    assert service.ask("GET", "/livez").json == {"status": "alive"}
    assert service.ask("GET", "/v2/health/live").json == {"status": "alive", "live": True}
    assert service.ask("GET", "/readyz").json == {"status": "ready"}
    assert service.ask("GET", "/v2/health/ready").json == {"status": "ready", "ready": True}
    info = service.ask("GET", "/info").json
    assert [column["name"] for column in info["columns"]] == list(NAMES)
    root = service.ask("GET", "/").json
    assert root["paths"]["predict"] == "/predict"
    assert root["status"] == "alive"  # as KServe's client of its first protocol asks whether a server lives
    page = service.ask("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert service.ask("GET", "/docs").status == 200


@pytest.mark.usefixtures("under")
def test_page_and_docs_can_be_switched_off() -> None:
    with Running(Linearly(), project=project(page=False, docs=False)) as service:
        assert service.ask("GET", "/", headers={"Accept": "text/html"}).json["name"] == "breast"
        assert [service.ask("GET", path).status for path in ("/docs", "/openapi.json")] == [403, 403]


# The project's own shapes

WALKTHROUGH = Project(
    reply=Reply(
        record={"label": "$label", "prediction": "$prediction"},
        labels={"0": "B", "1": "M"},
        info={"name": "breast-cancer", "version": "$version"},
        health={"health": "ok"},
        root="hello",
        error={"status": "error", "predict": -1, "detail": "$detail"},
    )
)


@pytest.mark.usefixtures("under")
def test_the_walkthroughs_shapes() -> None:
    with Running(Linearly(), project=WALKTHROUGH) as service:
        assert predict(service.address, EXAMPLE).body == b'{"label":"M","prediction":1}'
        assert service.ask("GET", "/info").json == {"name": "breast-cancer", "version": "1"}
        assert service.ask("GET", "/health").json == {"health": "ok"}
        root = service.ask("GET", "/")
        assert (root.body, root.headers["content-type"]) == (b"hello", "text/plain; charset=utf-8")
        refused = predict(service.address, {**EXAMPLE, "area_se": "x"})
        assert refused.status == 422
        assert refused.json == {"status": "error", "predict": -1, "detail": "area_se is a text, not a number"}


@pytest.mark.usefixtures("under")
def test_the_native_shape_can_always_be_had() -> None:
    with Running(Linearly(), project=WALKTHROUGH) as service:
        assert predict(service.address, EXAMPLE, Accept=NATIVE_MEDIA).body == b'{"prediction":1}'
        assert predict(service.address, {}, Accept=NATIVE_MEDIA).json["title"] == "Fields refused"


# Who may ask


def test_another_host_is_refused_on_a_loopback_address(service: Running) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:8080", "[::1]:8080"):
        assert service.ask("GET", "/livez", headers={"Host": host}).status == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "::1", ""):
        assert service.ask("GET", "/livez", headers={"Host": host}).status == 421
        with socket.create_connection(service.address, timeout=10) as sock:
            for _ in range(3):  # also when the header is one that was read before
                sock.sendall(request("POST", "/predict", json.dumps(EXAMPLE).encode(), {"Host": host}))
                assert parse(sock.recv(1 << 16))[0].status == 421
    with Running(Linearly(), project=project(allowed_hosts=("models.example",))) as allowing:
        assert allowing.ask("GET", "/livez", headers={"Host": "models.example:80"}).status == 200
    with Running(Linearly(), project=project(host="0.0.0.0")) as everywhere:
        assert everywhere.ask("GET", "/livez", headers={"Host": "evil.example"}).status == 200


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4


@pytest.mark.usefixtures("under")
def test_a_token_is_needed_for_all_but_probes_and_the_page(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who\none\n\ntwo\n")
    with Running(Linearly(), tokens=file) as service:
        assert predict(service.address, EXAMPLE).status == 401
        refused = predict(service.address, EXAMPLE, Authorization="Bearer three")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        for headers in ({"Authorization": "Bearer one"}, {"authorization": "bearer  two"}, {"X-Api-Key": "two"}):
            assert predict(service.address, EXAMPLE, **headers).status == 200
        for path in ("/info", "/openapi.json", "/docs", "/", "/nowhere"):
            assert service.ask("GET", path).status == 401
        for path in ("/livez", "/readyz", "/health", "/v2/health/ready"):
            assert service.ask("GET", path).status == 200
        assert service.ask("GET", "/", headers={"Accept": "text/html"}).status == 200
        file.write_text("four\n")
        until(lambda: predict(service.address, EXAMPLE, **{"X-Api-Key": "four"}).status == 200)
        assert predict(service.address, EXAMPLE, **{"X-Api-Key": "two"}).status == 401


@pytest.mark.usefixtures("under")
def test_there_is_no_way_around_the_token(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """T49; with the right header, the control, the same are answered. No log line holds the token."""
    file = tmp_path / "tokens"
    file.write_text("secret-token\n")
    ways: list[dict[str, str]] = [{"Authorization": text} for text in ("", "Bearer", "Bearer ", "Basic secret-token")]
    ways += [{"Authorization": f"Bearer {text}"} for text in ("secret-toke", "secret-tokenx", "SECRET-TOKEN", "#", "*")]
    ways += [{"Cookie": "token=secret-token"}, {"X-Token": "secret-token"}, {"X-Api-Key": ""}]
    paths = (
        "/predict",
        "/predict?token=secret-token",
        "/predict?api_key=secret-token",
        "/info",
        "/v2",
        "/v2/models/breast",
    )
    paths += (
        "//predict",
        "/livez/../predict",
        "/livez%2f..%2fpredict",
        "http://localhost/predict",
        "/PREDICT",
        "/history",
    )
    with Running(Linearly(), tokens=file, project=project(access_log=1.0)) as service:
        for path in paths:
            for headers in ways:
                assert service.ask("POST", path, EXAMPLE, headers).status in (400, 401, 404)
        assert service.ask("POST", "/predict", EXAMPLE, {"Authorization": "Bearer secret-token"}).status == 200
    logged = capsysbinary.readouterr().out
    assert b"/predict" in logged and b"secret-token" not in logged


def test_a_wrong_token_takes_as_long_however_much_of_it_is_right(tmp_path: Path) -> None:
    """T49: beside a comparison that ends at the first letter that differs, by its medians over turns."""
    from scipy.stats import mannwhitneyu

    token = "0123456789abcdef" * 16
    (tmp_path / "tokens").write_text(token)
    tokens = Tokens(tmp_path / "tokens")
    guesses = ("x" + token[1:], token[:-1] + "x")

    def refused(headers: dict[bytes, bytes]) -> None:
        with contextlib.suppress(TokenRefused):
            tokens.check(headers)

    def ending_early(headers: dict[bytes, bytes]) -> bool:
        return all(a == b for a, b in zip(headers[b"x-api-key"], token.encode(), strict=True))

    def apart(check: Callable[[dict[bytes, bytes]], object]) -> tuple[float, float]:
        """By how many seconds the two differ, and how likely by chance."""
        took: tuple[list[float], ...] = ([], [])
        for turn in range(TIMED):
            for place in (turn % 2, 1 - turn % 2):
                headers = {b"x-api-key": guesses[place].encode()}  # anew each time: where it lies counts, too
                start = time.perf_counter()
                check(headers)
                took[place].append(time.perf_counter() - start)
        return abs(statistics.median(took[1]) - statistics.median(took[0])), float(mannwhitneyu(*took).pvalue)

    (ours, chance), (early, _) = apart(refused), apart(ending_early)
    print(f"T49: {1e9 * ours:.0f} ns apart (p = {chance:.2f}, {TIMED} each); where it ends early {1e9 * early:.0f} ns")
    assert ours < early / 5


def test_the_token_file_may_be_away_for_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("one")
    tokens = Tokens(file)
    file.unlink()
    tokens.looked = -1.0
    tokens.check({b"x-api-key": b"one"})


@pytest.mark.parametrize("text", [None, "", "# nobody\n"])
def test_a_token_file_without_a_token_is_refused_at_start(tmp_path: Path, text: str | None) -> None:
    from wherry.errors import UsageRefused

    if text is not None:
        (tmp_path / "tokens").write_text(text)
    with pytest.raises(UsageRefused, match="tokens"):
        Tokens(tmp_path / "tokens")


# The journal


@pytest.mark.usefixtures("under")
def test_every_answer_is_kept_before_it_leaves() -> None:
    kept = Kept()
    with Running(Linearly(), journal=kept) as service:
        answer = predict(service.address, [EXAMPLE, EXAMPLE], **{"X-Request-Id": "mine"})
        (entry,) = kept.entries
        assert (entry.id, entry.request_id) == (answer.headers["x-prediction-id"], "mine")
        assert (entry.door, entry.status, list(entry.predictions)) == ("native", 200, [1, 1])
        assert list(entry.rows) == [tuple(EXAMPLE.values())] * 2
        assert entry.probabilities is not None
        assert 0 <= entry.latency_s < 5
        predict(service.address, {})
        assert len(kept.entries) == 1  # what was refused is no prediction


def test_one_commit_a_turn() -> None:
    kept = Kept()
    with Running(Linearly(), journal=kept) as service:
        body = json.dumps(EXAMPLE).encode()
        data = request("POST", "/predict", body) * 20 + request("POST", "/predict", body, close=True)
        assert len(replies(raw(service.address, data))) == 21
        assert len(kept.entries) == 21
        assert kept.commits < 10


@pytest.mark.usefixtures("under")
def test_what_cannot_be_kept_is_not_answered() -> None:
    kept = Kept()
    kept.failing = True
    with Running(Linearly(), journal=kept) as service:
        answer = predict(service.address, EXAMPLE)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert b"secret" not in answer.body
        kept.failing = False
        assert predict(service.address, EXAMPLE).status == 200


@pytest.mark.usefixtures("under")
def test_only_golden_rows_may_ask_not_to_be_kept() -> None:
    kept = Kept()
    golden = golden_of()
    with Running(Linearly(), journal=kept, golden=golden) as service:
        probe = {"X-Wherry-No-Store": "1"}
        assert predict(service.address, golden.request(), **probe).status == 200
        assert kept.entries == []
        rows = [dict(zip(NAMES, golden.rows[0], strict=True)), EXAMPLE]
        assert predict(service.address, rows, **probe).status == 200
        assert len(kept.entries) == 1
        assert predict(service.address, golden.request()).status == 200
        assert len(kept.entries) == 2


@pytest.mark.usefixtures("under")
def test_who_only_sees_whether_it_answers_is_counted_apart() -> None:
    """wherry's own probes are no predictions to a canary, a dashboard or the classes; other rows are, whatever asks."""
    golden = golden_of()
    with Running(Linearly(), golden=golden) as service:

        def asked(door: str) -> int:
            found = re.search(
                rf'wherry_requests_total\{{door="{door}",status="200"\}} (\d+)', service.metrics.render([])
            )
            return int(found[1]) if found else 0

        for headers, rows, door in (
            ({"X-Wherry-No-Store": "probe"}, golden.request(), "other"),
            ({"X-Wherry-No-Store": "1"}, golden.request(), "native"),
            ({"X-Wherry-No-Store": "probe"}, [EXAMPLE, EXAMPLE], "native"),
        ):
            before = asked("other"), asked("native")
            assert predict(service.address, rows, **headers).status == 200
            more = {"other": asked("other") - before[0], "native": asked("native") - before[1]}
            assert more == {"other": 0, "native": 0, door: 1}


# A model that fails, a model that is slow


@pytest.mark.usefixtures("under")
def test_a_model_that_fails_fails_alone() -> None:
    def moody(row: tuple[Any, ...]) -> Any:
        if row[0] == 13:
            raise ValueError("/srv/secret")
        return float("nan") if row[0] == 17 else row[0]

    with Running(Fake(moody)) as service:
        bodies = [{**EXAMPLE, NAMES[0]: value} for value in (1, 13, 2, 17, 3)]
        data = b"".join(request("POST", "/predict", json.dumps(body).encode()) for body in bodies)
        found = replies(raw(service.address, data + request("GET", "/livez", close=True)))
        assert [answer.status for answer in found] == [200, 500, 200, 500, 200, 200]
        for answer in (found[1], found[3]):
            assert answer.json["type"].endswith("#model")
            assert answer.json["errors"][0]["row"] == 0
            assert b"secret" not in answer.body
        mixed = predict(service.address, [bodies[0], bodies[1], bodies[3]])
        assert mixed.status == 500
        assert [fault["row"] for fault in mixed.json["errors"]] in ([1], [1, 2])
        assert service.metrics.model_failures == 3


@pytest.mark.usefixtures("under")
def test_over_capacity_is_refused_at_once() -> None:
    model = Fake(lambda row: 1, seconds=0.3)
    with Running(model, cost=Cost(0.02, 0.02)) as service:
        batcher = service.predictions.batcher
        batcher.queue_rows = batcher.burst_rows = batcher.standing_rows = 4
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: predict(service.address, EXAMPLE), range(24)))
        statuses = {answer.status for answer in answers}
        assert statuses == {200, 503}
        refused = next(answer for answer in answers if answer.status == 503)
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert refused.json["type"].endswith("#overloaded")
        assert predict(service.address, EXAMPLE).status == 200


def test_whoever_is_turned_away_quickly_is_told_the_same() -> None:
    """The short way of refusing, for headers that are known, and the long one: the same but for ids and seconds."""
    with Running(Fake(lambda row: 1)) as service, socket.create_connection(service.address, 10) as sock:

        def asked() -> Answer:
            sock.sendall(request("POST", "/predict", json.dumps(EXAMPLE).encode()))
            return parse(sock.recv(65536))[0]

        assert asked().status == 200
        service.predictions.batcher.queue_rows = 0
        short = [asked() for _ in range(6)]
        long = predict(service.address, EXAMPLE, **{"X-Request-Id": "mine"})
        assert service.metrics.cells[service.metrics.requests["native", 503][0]] == 7
        assert {answer.headers["retry-after"] for answer in short} == {"1", "2", "3"}
        assert len({answer.json["request_id"] for answer in short}) == 6
        for answer in short:
            assert answer.status == long.status == 503
            assert answer.headers["x-request-id"] == answer.json["request_id"]
            assert {**answer.json, "request_id": "mine"} == long.json
            assert set(answer.headers) == set(long.headers) - {"connection"}


@pytest.mark.usefixtures("under")
def test_a_model_in_its_thread_does_not_keep_the_loop() -> None:
    with Running(Fake(lambda row: 1, seconds=0.5), cost=Cost(0.5, 0.0)) as service, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(predict, service.address, EXAMPLE)
        until(lambda: service.predictions.batcher.busy)
        assert service.ask("GET", "/livez").status == 200
        assert not slow.done()
        assert slow.result().status == 200


@pytest.mark.parametrize(("scoring", "cost"), [("thread", Cost(0.0, 1e-9)), ("loop", Cost(9.0, 9.0))])
def test_where_the_model_is_called_can_be_declared(scoring: Literal["thread", "loop"], cost: Cost) -> None:
    """Against what its cost says."""
    places: list[threading.Thread] = []
    model = Fake(lambda row: places.append(threading.current_thread()) or 1)
    with Running(model, cost=cost, project=Project(serve=Serve(scoring=scoring))) as service:
        assert predict(service.address, EXAMPLE).status == 200
        assert (places[-1] is service.thread) == (scoring == "loop")
    with Running(model, cost=cost) as service:  # the control
        assert predict(service.address, EXAMPLE).status == 200
        assert (places[-1] is service.thread) == (scoring == "thread")


def test_who_waits_in_a_queue_that_is_cut_is_turned_away_at_once() -> None:
    with Running(Fake(lambda row: 1, seconds=1.0), cost=Cost(1.0, 0.0)) as service, ThreadPoolExecutor(8) as pool:
        batcher = service.predictions.batcher
        first = pool.submit(predict, service.address, EXAMPLE)
        until(lambda: batcher.busy and not batcher.waiting)
        others = [pool.submit(predict, service.address, EXAMPLE) for _ in range(7)]
        until(lambda: batcher.waiting_rows == 7)
        batcher.standing_rows = 2
        service.loop.call_soon_threadsafe(batcher.shed)
        until(lambda: sum(other.done() for other in others) == 5)
        assert not first.done()
        refused = [other.result() for other in others if other.done()]
        assert [(answer.status, bool(answer.headers["retry-after"])) for answer in refused] == [(503, True)] * 5
        assert [one.result().status for one in (first, *others)].count(200) == 3
        assert service.metrics.cells[service.metrics.requests["native", 503][0]] == 5


# The document


def test_the_openapi_document_describes_the_service(service: Running) -> None:
    document = service.ask("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    record = document["components"]["schemas"]["Record"]
    assert record["required"] == list(NAMES)
    for example in document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values():
        assert predict(service.address, example["value"]).status == 200
    text = json.dumps(document)
    for reference in re.findall(r'"#/components/([^"]+)"', text):
        kind, name = reference.split("/")
        assert name in document["components"][kind]
    assert set(document["components"]["responses"]) <= set(document["paths"]["/predict"]["post"]["responses"])


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
keys = st.sampled_from([*NAMES, "columns", "rows", "data", "x"])
values = st.recursive(cells, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner), max_leaves=8)
bodies = st.one_of(st.binary(max_size=80), values.map(lambda value: json.dumps(value).encode()))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=bodies)
def test_no_body_is_the_services_fault(service: Running, body: bytes) -> None:
    answer = predict(service.address, body)
    assert answer.status in (200, 400, 422), answer.body
    json.loads(answer.body)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(min_size=1, max_size=200), place=st.integers(0, 60))
def test_no_bytes_stop_the_service(port: Running, data: bytes, place: int) -> None:
    good = request("POST", "/predict", json.dumps(EXAMPLE).encode(), close=True)
    raw(port.address, good[:place] + data + good[place:], half_close=True)
    assert port.thread.is_alive()
    assert port.ask("GET", "/livez").status == 200
    assert port.port.in_flight == 0


def test_metrics_are_prometheus_text(service: Running) -> None:
    predict(service.address, {**EXAMPLE, "area_se": 1e9, "id": 1})
    service.predictions.look()
    text = service.metrics.render([("wherry_ready", "", 1.0)])
    line = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.e]+')
    for each in text.splitlines():
        assert each.startswith(("# HELP ", "# TYPE ")) or line.fullmatch(each), each
    assert re.search(r'wherry_requests_total\{door="native",status="200"\} \d+', text)
    assert service.metrics.outside >= 1
    assert service.metrics.ignored >= 1


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-2, 3) | st.just(10**400), st.floats(-1.5, 2.5)), min_size=1, max_size=40),
        max_size=9,
    )
)
def test_values_outside_are_found_whenever_they_are_looked_for(batches: list[list[Any]]) -> None:
    columns = (Column("whole", "integer", low=0, high=1), Column("number", "number", low=0.0, high=1.0))
    signature = Signature(columns=columns, output=OutputSpec("number", "number"))
    ranges, found = Ranges(signature), [0]

    def count(more: int) -> None:
        found[0] += more

    for batch in batches:
        rows = Rows(ranges.pack)
        rows += batch
        if ranges.gather(rows):
            ranges.look(count)
    ranges.look(count)
    assert found[0] == sum(signature.outside(batch) for batch in batches)
    ranges.look(count)
    assert found[0] == sum(signature.outside(batch) for batch in batches)


def counted(*batches: list[Any]) -> dict[str, float]:
    """What /metrics says of each class after these answers."""
    metrics = Metrics()
    for batch in batches:
        metrics.predicted(batch)
    lines = [line for line in metrics.render([]).splitlines() if line.startswith("wherry_predictions_total{")]
    return {line.partition('class="')[2].rpartition('"} ')[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_the_classes_of_a_classifier_are_counted_by_name() -> None:
    assert counted(["B", "M", "B"], ["B"]) == {"B": 3, "M": 1}
    assert counted([0, 1, 1]) == {"0": 1, "1": 2}
    assert counted([True, False]) == {"true": 1, "false": 1}


def test_names_of_classes_always_find_room_to_be_counted() -> None:
    hard = ['a "quoted"\nname', "é" * 200, "\\" * 90, ""]
    found = counted(hard, hard)
    assert len(found) == 4
    assert set(found.values()) == {2}
    assert 'a \\"quoted\\"\\nname' in found
    many = counted([f"c{number}" for number in range(500)], ["c0", "c499"])
    assert many["c0"] == 2
    assert many["other classes"] == 500 - CLASSES + 1
    assert len(many) == CLASSES + 1


def test_a_large_body_is_read_beside_the_small_ones(service: Running) -> None:
    rows = [list(EXAMPLE.values())] * 20_000
    for body in (rows, {"columns": list(EXAMPLE), "rows": rows}, [EXAMPLE] * 20_000):
        assert len(json.dumps(body)) > BIG
        answer = predict(service.address, body)
        assert (answer.status, len(answer.json["predictions"])) == (200, 20_000)
    refused = predict(service.address, [*rows, [1]])
    assert (refused.status, refused.json["errors"][0]["row"]) == (422, 20_000)
