"""What strangers send to a service in a process of its own, and what it costs: memory, time, and others' patience."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from serving import EXAMPLE, Child, Fake, Running, ask, child, linear_bundle, request

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
MIB = 2**20
CAP = 10 * MIB  # of a body
SECONDS = 3.0  # of processor time that one request may take, on a slow machine; the aims are 0.1 and 0.5
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")


class Toll(NamedTuple):
    """What a service had to pay: peak of memory over before, processor seconds; and what others waited meanwhile."""

    memory: int
    seconds: float
    stall: float
    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.memory / MIB:.1f} MiB, {self.seconds:.2f} s, others waited {1000 * self.stall:.0f} ms"


def resident(pid: int, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def toll(service: Child, work: Callable[[], object], asked: bytes = request("GET", "/livez")) -> Toll:
    """Do `work` while somebody else asks `asked` on one connection, again and again."""
    pid, ended, waits = service.process.pid, threading.Event(), [0.0]

    def probe() -> None:
        with socket.create_connection(service.address, timeout=120) as sock:
            while not ended.wait(0.002):
                start = time.monotonic()
                sock.sendall(asked)
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
                waits.append(time.monotonic() - start)

    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is that of now
    memory, seconds = resident(pid, "VmRSS"), used(pid)
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(probe)
        try:
            work()
        finally:
            ended.set()
        probing.result(150)
    waits.sort()
    return Toll(
        resident(pid, "VmHWM") - memory,
        used(pid) - seconds,
        waits[-1],
        *(waits[int(share * len(waits))] for share in (0.5, 0.99)),
    )


def send(service: Child, parts: Iterable[bytes]) -> tuple[int, int]:
    """The status that comes back, and the bytes that were sent until it came."""
    sent = 0
    with socket.create_connection(service.address, timeout=30) as sock:
        with contextlib.suppress(OSError):
            for part in parts:
                if select.select([sock], [], [], 0)[0]:
                    break
                sock.sendall(part)
                sent += len(part)
        return int(sock.recv(4096).split()[1]), sent


def body(data: bytes, **headers: str) -> list[bytes]:
    return [request("POST", "/predict", data, {name.replace("_", "-"): text for name, text in headers.items()})]


def pieces(data: bytes) -> list[bytes]:
    return [data[place : place + 65536] for place in range(0, len(data), 65536)]


def streamed(head: bytes, part: bytes, many: int) -> Iterator[bytes]:
    yield head
    yield from repeat(part, many)


def keys(many: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(many)) + b"}"


def get(header: bytes = b"", path: bytes = b"/livez") -> list[bytes]:
    return [b"GET " + path + b" HTTP/1.1\r\n" + HOST + header + b"\r\n"]


PART = b"10000\r\n" + b" " * 65536 + b"\r\n"
GZIP = zlib.compress(bytes(10 * MIB), 9, 31)
# What is sent, with which status it is refused, and how many MiB that may take at most.
COSTLY: dict[str, tuple[Callable[[], Iterable[bytes]], tuple[int, ...], int]] = {
    # T19, bodies
    "a gigabyte announced": (lambda: streamed(POST + b"Content-Length: %d\r\n\r\n" % 2**30, PART, 16384), (413,), 11),
    "a gigabyte in chunks": (lambda: streamed(CHUNKED, PART, 16384), (413,), 11),
    "a gigabyte, if it may": (
        lambda: [POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % 2**30], (413,), 1,
    ),
    "more than announced": (lambda: [POST + b"Content-Length: 2\r\n\r\n{}", b"[]" * 2**20], (422,), 11),
    # T21, numbers, depth, names, other alphabets
    "a million brackets": (lambda: body(b"[" * 10**6), (400,), 11),
    "ten million brackets": (lambda: body(b"[" * (CAP - 10)), (400,), 31),
    "a number of a million digits": (lambda: body(b'{"area_se":' + b"9" * 10**6 + b"}"), (400,), 11),
    "a number beyond all numbers": (lambda: body(b'{"area_se":1e309}'), (400,), 1),
    "no number": (lambda: body(b'{"area_se":NaN}'), (400,), 1),
    "a million names": (lambda: body(keys(800_000)), (422,), 40),
    "a million names in a value": (lambda: body(b'{"area_se":' + keys(800_000) + b"}"), (422,), 40),
    "a million names in as many rows": (
        lambda: body(b"[" + b",".join(b'{"k%d":1}' % number for number in range(700_000)) + b"]"), (422,), 40,
    ),
    "100,000 names": (lambda: body(keys(100_000)), (422,), 40),
    "five million numbers": (lambda: body(b"[" + b"1," * (CAP // 2 - 10) + b"1]"), (422,), 80),
    "three million lists": (lambda: body(b"[" + b"[]," * (CAP // 3 - 10) + b"[]]"), (422,), 300),
    "one name a million times": (lambda: body(b"{" + b",".join([b'"area_se":1'] * 800_000) + b"}"), (422,), 100),
    "half a letter": (lambda: body(b'{"area_se":"\\ud800"}'), (400,), 1),
    "a mark before it": (lambda: body(b"\xef\xbb\xbf{}"), (400,), 1),
    "sixteen bits a letter": (lambda: body(json.dumps(EXAMPLE).encode("utf-16")), (400,), 1),
    # T23, chunks
    "three megabytes of tiny chunks": (lambda: streamed(CHUNKED, b"1\r\n \r\n" * 10_000, 50), (400,), 11),
    "a million extensions": (lambda: streamed(CHUNKED, b"1;a=b\r\n \r\n" * 10_000, 100), (400,), 11),
    "an endless extension": (lambda: streamed(CHUNKED, b"1" + b";a=b" * 10_000, 100), (400, 413, 431), 11),
    # T24, headers
    "a header of a megabyte": (lambda: get(b"X: " + b"a" * 10**6 + b"\r\n"), (431,), 2),
    "ten thousand headers": (lambda: get(b"".join(b"X%d: a\r\n" % number for number in range(10_000))), (431,), 2),
    "a long address": (lambda: get(path=b"/livez?" + b"a" * 100_000), (414,), 2),
    # T25, encodings
    **{
        name: (lambda name=name: body(GZIP, Content_Encoding=name), (415,), 1)
        for name in ("gzip", "deflate", "br", "zstd", "gzip, gzip")
    },
    "ten megabytes of gzip": (lambda: body(bytes(CAP - 10), Content_Encoding="gzip"), (415,), 11),
}  # fmt: skip  # a table reads better than one value a line


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with child(linear_bundle(tmp_path_factory.mktemp("hostile") / "bundle")) as service:
        send(service, body(keys(1000)))  # what is loaded at the first refusal is not that request's
        yield service


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_refused_costs_little(plain: Child, name: str) -> None:
    """T19, T21, T23 to T25: no more memory than a body may take, little time, and others are answered meanwhile."""
    made, statuses, most = COSTLY[name]
    parts = made() if name.startswith(("a gigabyte", "three", "an endless", "a million ext")) else list(made())
    answers: list[tuple[int, int]] = []
    paid = toll(plain, lambda: answers.append(send(plain, parts)))
    [(status, sent)] = answers
    print(f"{name}: {status} after {sent / MIB:.1f} MiB; {paid}")
    assert status in statuses
    assert paid.memory < most * MIB
    assert paid.seconds < SECONDS
    assert ask(plain.address, "POST", "/predict", EXAMPLE).status == 200


def test_names_cost_much_where_they_may_be_unknown(plain: Child, tmp_path: Path) -> None:
    """T21's control: what is left aside has to be read."""
    parts = body(keys(800_000))
    refused = toll(plain, lambda: send(plain, parts))
    with child(linear_bundle(tmp_path / "bundle"), WHERRY_SERVE_UNKNOWN_FIELDS="ignore") as service:
        paid = toll(service, lambda: send(service, parts))
    print(f"a million names, where they may be unknown: {paid}; where not: {refused}")
    assert paid.memory > 2 * refused.memory
    assert paid.seconds > 3 * refused.seconds


def test_the_same_request_costs_much_where_it_is_not_refused(plain: Child, tmp_path: Path) -> None:
    """The control: the cap on bodies raised, and any name taken, the same measurement finds memory and time."""
    large = pieces(body(keys(2_000_000 if LONG else 1_000_000))[0])
    refused = toll(plain, lambda: send(plain, large))
    most = {"WHERRY_SERVE_BODY_LIMIT": str(2**30), "WHERRY_SERVE_UNKNOWN_FIELDS": "ignore"}
    with child(linear_bundle(tmp_path / "bundle"), **most) as service:
        paid = toll(service, lambda: send(service, large))
    print(f"a million names or two, with a cap of a gigabyte: {paid}; without: {refused}")
    assert paid.memory > 10 * max(refused.memory, MIB)
    assert paid.seconds > 2 * max(refused.seconds, 0.05)


# --- pictures and forms: T18, T20 ---------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A picture of one colour, however large, in a few bytes."""
    line = 1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8
    sink, packer = io.BytesIO(), zlib.compressobj(9 if LONG else 1)
    for _ in range(height if width <= 20_000 else 1):
        sink.write(packer.compress(bytes(line)))
    sink.write(packer.flush())
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", sink.getvalue()) + chunk(b"IEND", b"")


def text(megabytes: int) -> bytes:
    return chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(megabytes * MIB)))


BOMBS: dict[str, tuple[Callable[[], bytes], int]] = {
    "50,000 x 50,000": (lambda: png(50_000, 50_000), 413),
    "19,000 x 19,000 of one bit": (lambda: png(19_000, 19_000, depth=1, colour=0), 413),
    "5,000 x 5,000, the most there may be": (lambda: png(5000, 5000), 200),
    "the same with transparency": (lambda: png(5000, 5000, colour=6), 200),
    "a gigabyte of text": (lambda: png(30, 20, *[text(200 if LONG else 20)] * 5), 400),
    "a GIF of 100,000 frames": (lambda: b"GIF89a\1\0\1\0\0\0\0" + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0" * 100_000, 415),
    "a TIFF": (lambda: b"II*\0" + bytes(1000), 415),
    "a PSD": (lambda: b"8BPS\0\1" + bytes(1000), 415),
    "an EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(1000), 415),
    "cut off": (lambda: png(3000, 3000)[:-2000], 400),
    "one in another": (lambda: b"\xff\xd8\xff\xe0" + png(30, 20), 400),
}


@pytest.fixture(scope="module")
def painted(picture_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("painted")
    shutil.copytree(picture_bundle, folder / "bundle")
    with child(folder / "bundle") as service:
        send(service, body(png(300, 300), Content_Type="image/png"))
        yield service


def eight(service: Child, data: bytes) -> set[int]:
    """The statuses of eight who send the same at once."""
    parts = body(data, Content_Type="image/png")
    with ThreadPoolExecutor(8) as pool:
        return {status for status, _ in pool.map(lambda _: send(service, parts), range(8))}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_takes_no_more_than_pictures_may(painted: Child, name: str) -> None:
    """T18: eight at once."""
    made, wanted = BOMBS[name]
    data = made()
    statuses: set[int] = set()
    paid = toll(painted, lambda: statuses.update(eight(painted, data)))
    print(f"{name}: {statuses}, {len(data) / 1024:.0f} KiB each; {paid}")
    assert statuses == {wanted}
    assert paid.memory < 220 * MIB
    assert send(painted, body(png(30, 20), Content_Type="image/png"))[0] == 200


def test_the_same_picture_takes_much_where_it_may(pictures: Any, tmp_path: Path) -> None:
    """T18's control: a bundle that allows more points."""
    from wherry.contract.pictures import PictureModel
    from wherry.model.pack.pictures import pack_graph

    graph = pictures.written(tmp_path / "model")
    declared = PictureModel(labels=str(graph.with_name("labels.txt")), pixels=400_000_000)
    pack_graph(graph, declared, to=tmp_path / "bundle", name="colours")
    data = png(8000, 8000)
    with child(tmp_path / "bundle") as service:
        paid = toll(service, lambda: send(service, body(data, Content_Type="image/png")))
        print(f"8,000 x 8,000 where that is allowed: {paid}")
        assert paid.memory > 200 * MIB


FIELD = b'--cut\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
FORMS: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "100,000 fields": (lambda: (FIELD + b"x\r\n") * 100_000 + b"--cut--", "cut", 400),
    "a boundary of ten megabytes": (lambda: FIELD, "b" * CAP, 431),
    "a boundary of 100 letters": (lambda: FIELD, "b" * 100, 400),
    "ten megabytes before the first": (lambda: b"\r\n" * (5 * MIB - 200) + FIELD + b"x\r\n--cut--", "cut", 415),
    "nearly the boundary, again and again": (lambda: b"\r\n--cu" * (CAP // 6 - 50) + FIELD, "cut", 400),
    "a hundred megabytes before the first": (lambda: b"\r\n" * (50 * MIB) + FIELD, "cut", 413),
    "no last boundary": (lambda: FIELD + bytes(9 * MIB), "cut", 400),
    "a form in a form": (lambda: FIELD + (FIELD + b"x\r\n--cut--") * 1000 + b"\r\n--cut--", "cut", 415),
    "a field's header of a megabyte": (lambda: FIELD[:5] + b"X: " + b"a" * MIB + FIELD[5:] + b"x", "cut", 400),
    "names that never end": (
        lambda: (b"--cut\r\n" + b"content-disposition:form-data;" * 130 + b"\r\n\r\nx\r\n") * 64 + b"--cut--",
        "cut", 400,
    ),
}  # fmt: skip  # likewise


@pytest.mark.parametrize("name", FORMS)
def test_a_form_costs_little(painted: Child, name: str) -> None:
    """T20."""
    made, boundary, wanted = FORMS[name]
    parts = body(made(), Content_Type=f"multipart/form-data; boundary={boundary}")
    answers: list[tuple[int, int]] = []
    paid = toll(painted, lambda: answers.append(send(painted, pieces(parts[0]))))
    print(f"{name}: {answers[0][0]} after {answers[0][1] / MIB:.1f} MiB; {paid}")
    assert answers[0][0] == wanted
    assert paid.seconds < SECONDS


# --- 10,000 requests that are not what they should be: T09 ---------------------------------------------------------

MANY, RATE = (10_000, 200.0) if LONG else (600, 300.0)
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 2**63, 10**40, 1e30, "", "1", "NaN", "\0", "x" * 10_000, [], [[]], {}, [None] * 100),
    *({"a": {"b": {}}}, [1.5, "x", None], "FP64", "BYTES", "FP8", [-1, 1], [2**63, 2**63], [0], [1, 1, 1, 1]),
)
TENSORS = {
    "inputs": [{"name": name, "datatype": "FP64", "shape": [1, 1], "data": [value]} for name, value in EXAMPLE.items()]
}
DOORS: dict[str, Any] = {
    "/predict": [EXAMPLE, EXAMPLE],
    "/invocations": {"dataframe_split": {"columns": list(EXAMPLE), "data": [list(EXAMPLE.values())]}},
    "/v1/models/breast:predict": {"instances": [list(EXAMPLE.values())]},
    "/v2/models/breast/infer": TENSORS,
    "/api/v1.0/predictions": {"data": {"names": list(EXAMPLE), "ndarray": [list(EXAMPLE.values())]}},
    "/feedback": {"id": "0198c2d4-0000-7000-8000-000000000000", "truth": 1},
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a JSON value."""
    yield at
    if isinstance(value, (list, dict)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, key))


def changed(value: Any, chance: random.Random) -> Any:
    """`value`, where one part is another, is left out, is there twice, or has another name."""
    value = json.loads(json.dumps(value))
    way = chance.choice(list(places(value)))
    if not way:
        return chance.choice(HOSTILE)
    inside = value
    for key in way[:-1]:
        inside = inside[key]
    match chance.randrange(4), inside:
        case 0, _:
            del inside[way[-1]]
        case 1, dict():
            inside[chance.choice(["x", "data", "", way[-1].upper()])] = inside.pop(way[-1])
        case 1, list():
            inside.append(inside[way[-1]])
        case _:
            inside[way[-1]] = chance.choice(HOSTILE)
    return value


def malformed(many: int) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    chance = random.Random(9)
    for _ in range(many):
        path, right = chance.choice(list(DOORS.items()))
        data, headers = json.dumps(changed(right, chance)).encode(), {}
        if chance.random() < 0.2:  # not even JSON
            place = chance.randrange(len(data))
            data = data[:place] + chance.randbytes(chance.randrange(4)) + data[place + 1 :]
        if path.endswith("infer") and chance.random() < 0.3:
            length = chance.choice([len(data), 0, -1, 10**30, "x", len(data) // 2])
            headers["Inference-Header-Content-Length"] = str(length)
            data += chance.randbytes(20)
        yield path, data, headers


RIGHT = ("/predict", json.dumps(EXAMPLE).encode(), {})


def pester(port: int, kind: str, many: int, rate: float) -> None:
    """In a process of its own, which gives way to others: send so many a second; say which statuses came back."""
    os.nice(19)
    statuses: Counter[int] = Counter()
    due = time.monotonic()
    for path, data, headers in malformed(many) if kind == "malformed" else repeat(RIGHT, many):
        time.sleep(max(0.0, due - time.monotonic()))
        statuses[ask(("127.0.0.1", port), "POST", path, data, headers).status] += 1
        due += 1 / rate
    print(json.dumps(statuses))


def pestered(service: Child, kind: str, many: int, rate: float) -> Counter[int]:
    code = f"import test_hostile; test_hostile.pester({service.port}, {kind!r}, {many}, {rate})"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return Counter({int(status): count for status, count in json.loads(told.stdout.splitlines()[-1]).items()})


def test_malformed_requests_are_the_clients_fault_and_hold_up_nobody(plain: Child) -> None:
    """T09: whichever door they come by. The one who sends them gives way, so what is measured is the service."""
    good, found = request("POST", "/predict", RIGHT[1]), {}
    for kind, many in (("nobody", 0), ("right", MANY), ("malformed", MANY)):
        statuses: Counter[int] = Counter()

        def work(kind: str = kind, many: int = many, statuses: Counter[int] = statuses) -> None:
            time.sleep(0 if many else 1 + MANY / RATE)
            statuses.update(pestered(plain, kind, many, RATE) if many else {})

        found[kind] = paid = toll(plain, work, good)
        print(f"T09: beside {kind}: {dict(statuses)}; {paid}; p50 {1000 * paid.p50:.2f}, p99 {1000 * paid.p99:.2f} ms")
    assert not [status for status in statuses if status >= 500]
    assert statuses[422] > MANY / 4
    assert found["malformed"].memory < 20 * MIB


def test_a_refusal_costs_little_more_than_an_answer(plain: Child) -> None:
    """T09: processor time of the service for each, a connection for each among it."""
    cost = {}
    for kind in ("right", "malformed"):
        before = used(plain.process.pid)
        pestered(plain, kind, MANY, 1e9)
        cost[kind] = (used(plain.process.pid) - before) / MANY
    print(f"T09: {1e6 * cost['right']:.0f} microseconds to answer, {1e6 * cost['malformed']:.0f} to refuse")
    assert cost["malformed"] < 3 * cost["right"] + 20e-6


def test_the_same_requests_find_a_model_that_does_not_check() -> None:
    """T09's control: what is wrong is found by whoever looks at the replies."""
    with Running(Fake(lambda row: 1 / (row[0] - EXAMPLE["concavity_mean"]))) as service:
        assert 500 in {service.ask("POST", path, data, headers).status for path, data, headers in malformed(300)}
