"""What the service adds to a picture: a graph as large as ResNet-50, asked over HTTP and answered in place.

    python bench/pictures.py [ROUNDS] [--check]

Both in turns on the same core, one picture at a time: 224 x 224 points, then 1600 x 1200. The ratio of each turn first,
then their median; by CPU seconds too, which other work on the machine disturbs less than the clock. --check fails when
the service adds more than 5 % of CPU. Then, how many pictures a second one service answers with two cores, for one with
one, and how many cores it and those who ask it are busy on.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from turns import SERVER_CORE, cpu, serving, settle, started

MOST = 1.05
EACH = 8  # pictures a turn
SIZES = ((224, 224), (1600, 1200))
CALLERS = 4


def graph() -> bytes:
    """The layers of ResNet-50, its numbers drawn: what it answers means nothing, what it costs is the same."""
    from onnx import TensorProto, helper, numpy_helper

    numbers = np.random.default_rng(0)
    nodes: list[Any] = []
    held: list[Any] = []

    def keep(shape: tuple[int, ...], spread: float) -> str:
        name = f"w{len(held)}"
        held.append(numpy_helper.from_array((numbers.standard_normal(shape) * spread).astype(np.float32), name))
        return name

    def node(kind: str, *inputs: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"n{len(nodes)}"], **options))
        return f"n{len(nodes) - 1}"

    def conv(x: str, inside: int, out: int, side: int, stride: int) -> str:
        weights = keep((out, inside, side, side), 0.7 * (2 / (inside * side * side)) ** 0.5)
        shape = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [side // 2] * 4}
        return node("Conv", x, weights, keep((out,), 0.0), **shape)

    x = node("Relu", conv("image", 3, 64, 7, 2))
    x = node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inside = 64
    for layer, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            stride = 2 if block == 0 and layer else 1
            y = node("Relu", conv(x, inside, width, 1, 1))
            y = conv(node("Relu", conv(y, width, width, 3, stride)), width, 4 * width, 1, 1)
            past = conv(x, inside, 4 * width, 1, stride) if block == 0 else x
            x, inside = node("Relu", node("Add", y, past)), 4 * width
    x = node("Flatten", node("GlobalAveragePool", x))
    nodes.append(helper.make_node("Gemm", [x, keep((2048, 1000), 0.02), keep((1000,), 0.0)], ["scores"]))
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])
    given = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 1000])
    made = helper.make_graph(nodes, "resnet50", [taken], [given], held)
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def picture(wide: int, high: int) -> bytes:
    drawn = np.random.default_rng(1).integers(0, 256, (high // 40, wide // 40, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(drawn).resize((wide, high), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def packed(folder: Path) -> Path:
    from wherry.contract.pictures import PictureModel
    from wherry.model.pack.pictures import pack_graph

    (folder / "labels.txt").write_text("".join(f"class {number}\n" for number in range(1000)))
    (folder / "resnet50.onnx").write_bytes(graph())
    pack_graph(folder / "resnet50.onnx", PictureModel(labels=str(folder / "labels.txt")), to=folder / "bundle")
    return folder / "bundle"


@contextlib.contextmanager
def service(bundle: Path, *cores: int) -> Iterator[tuple[int, int]]:
    """`wherry serve` on these cores: its port and its process."""
    peer = serving(bundle)
    with started(peer, *cores) as process:
        yield peer.port, process


def ask(connection: http.client.HTTPConnection, data: bytes) -> None:
    connection.request("POST", "/predict", data, {"Content-Type": "image/jpeg"})
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, body


def turn(connection: http.client.HTTPConnection, process: int, model: Any, data: bytes) -> tuple[float, float]:
    """How the service's time for some pictures is to that of the model alone, by the clock and by CPU seconds."""
    clock, spent = time.perf_counter(), cpu(process)
    for _ in range(EACH):
        ask(connection, data)
    there, there_cpu = time.perf_counter() - clock, cpu(process) - spent
    clock, spent = time.perf_counter(), time.process_time()
    for _ in range(EACH):
        model.score([(data,)])
    return there / (time.perf_counter() - clock), there_cpu / (time.process_time() - spent)


class Gained(NamedTuple):
    """Pictures a second, and the cores that the service and those who asked it were busy on meanwhile."""

    rate: float
    service: float
    callers: float


def throughput(bundle: Path, cores: tuple[int, ...], data: bytes, seconds: float) -> Gained:
    """Of four callers at a time, who send the same bytes again and again."""
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    request, counts = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data, [0] * CALLERS
    with service(bundle, *cores) as (port, process):

        def call(place: int, until: float) -> None:
            with socket.create_connection(("127.0.0.1", port), 60) as sock:
                while time.perf_counter() < until:
                    sock.sendall(request)
                    assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")  # short enough to come in one piece
                    counts[place] += 1

        def all_of_them(seconds: float) -> None:
            until = time.perf_counter() + seconds
            callers = [threading.Thread(target=call, args=(place, until)) for place in range(CALLERS)]
            for each in callers:
                each.start()
            for each in callers:
                each.join()

        all_of_them(0.5)  # the threads of the model begin
        before, spent, own, clock = sum(counts), cpu(process), time.process_time(), time.perf_counter()
        all_of_them(seconds)
        took = time.perf_counter() - clock
        answered = sum(counts) - before
        return Gained(answered / took, (cpu(process) - spent) / took, (time.process_time() - own) / took)


def main(rounds: int, check: bool) -> int:
    import wherry

    worst, every = 0.0, tuple(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        bundle = packed(Path(folder))
        os.environ["OMP_NUM_THREADS"] = "1"
        model = wherry.load(bundle)
        for wide, high in SIZES:
            data = picture(wide, high)
            with service(bundle, SERVER_CORE) as (port, process):
                settle(SERVER_CORE)
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                    turn(connection, process, model, data)
                    found = [turn(connection, process, model, data) for _ in range(rounds)]
            settle(*every)
            clock, spent = (statistics.median(each[kind] for each in found) for kind in (0, 1))
            print(f"{wide} x {high}, {len(data):,} bytes: {clock:.3f} by the clock, {spent:.3f} by CPU seconds")
            worst = max(worst, spent)
        del os.environ["OMP_NUM_THREADS"]
        for wide, high in SIZES if len(every) > 1 else ():
            data = picture(wide, high)
            turns = [
                [throughput(bundle, cores, data, 4.0) for cores in (every[:1], every[:2])]
                for _ in range(min(rounds, 3))
            ]
            gain = statistics.median(two.rate / one.rate for one, two in turns)
            print(f"{wide} x {high}: two cores answer {gain:.2f} times the pictures of one")
            for title, found in zip(("one core", "two cores"), zip(*turns, strict=True), strict=True):
                rate, busy, callers = (statistics.median(each) for each in zip(*found, strict=True))
                print(
                    f"  {title}: {rate:.1f} a second, {busy:.2f} cores busy, {callers:.3f} by the callers", flush=True
                )
    return int(check and worst > MOST)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    sys.exit(main(int(words[0]) if words else 9, "--check" in sys.argv))
