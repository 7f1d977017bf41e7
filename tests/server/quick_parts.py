"""For tests of quick answers: models that only add and compare, the law that answers are held to, other sources."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import BIAS, EXAMPLE, NAMES, WEIGHTS, request

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Sums
from wherry.model.flavors.linear import Decide, Form, Linear, LinearScorer
from wherry.server import quick
from wherry.server.ids import new_tail
from wherry.server.metrics import LATENCIES, Metrics, Ranges
from wherry.server.protocol import Connection

SOURCE = Path(__file__).resolve().parents[2] / "src" / "wherry" / "server" / "_quick.c"
EPS = 2.0**-52
BEGUN = b"HTTP/1.1 200 OK\r\nX-Request-Id: "
FOREVER = math.inf
ROW = array("d", [3.0, 1.0]).tobytes()
DOUBT = bytes(16)
WAYS: tuple[tuple[Decide, int], ...] = (("sign", 2), ("argmax", 2), ("argmax", 9), ("votes", 3), ("votes", 9))


def sums_of(decide: Decide, classes: int) -> int:
    return {"sign": 1, "argmax": classes, "votes": classes * (classes - 1) // 2}[decide]


def folded(decide: Decide, classes: Sequence[Any], weights: Any, bias: Any) -> LinearScorer:
    """A model of n x k weights and k biases that does nothing but add and compare."""
    weights, bias = np.asarray(weights, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    n, k = weights.shape
    return LinearScorer(
        Linear(
            form=Form(decide, "none", tuple(classes), tuple(range(n)), ()),
            weights=weights,
            bias=bias,
            center=np.zeros(n),
            low=np.full(n, -np.inf),
            high=np.full(n, np.inf),
            missing=np.full((n, k), np.nan),
            table=np.zeros((0, k)),
        )
    )


def drawn(chance: np.random.Generator, decide: Decide, classes: int, columns: int, whole: bool = False) -> LinearScorer:
    """A model of random weights, small integers if `whole`."""
    shape = columns, sums_of(decide, classes)
    if whole:
        return folded(decide, range(classes), chance.integers(-9, 10, shape), chance.integers(-9, 10, shape[1]))
    spread = 10.0 ** chance.uniform(-3, 3, (columns, 1))
    return folded(decide, range(classes), chance.normal(size=shape) * spread, chance.normal(size=shape[1]))


def made(sums: Sums, *, metrics: Metrics | None = None, read: Callable[[bytes], Any] = bytes) -> Any:
    """What answers for `sums`, leased for ever; a body is the float64 of its cells unless `read` says otherwise."""
    columns = len(sums.weights) // len(sums.bias)
    signature = Signature(
        tuple(Column(f"c{place}", "number", low=-1.0, high=1.0) for place in range(columns)),
        OutputSpec("class", "integer", classes=sums.classes),
    )
    found = quick.leased(
        sums,
        read,
        lambda outputs, id: json.dumps(outputs.predictions[0]).encode(),
        Ranges(signature),
        metrics or Metrics(),
        None,  # type: ignore[arg-type]  # asked when a lease is renewed, which is not done here
    )
    assert found is not None
    found.quick.lease(BEGUN, new_tail().encode(), FOREVER)
    return found.quick


def block(row: Sequence[float]) -> bytes:
    return array("d", row).tobytes()


def class_in(reply: bytes) -> Any:
    return json.loads(reply.partition(b"\r\n\r\n")[2])


class Law:
    """What is answered to a row is nothing, or what the model gives for it alone and in any batch.

    It is nothing where rounding could decide, and something where the sums are far from that.
    """

    def __init__(self, scorer: LinearScorer, sums: Sums | None = None) -> None:
        assert scorer.compared is not None
        self.scorer, self.quick = scorer, made(sums or scorer.compared)
        self.weights: list[list[Fraction]] = [list(map(Fraction, each)) for each in scorer.model.weights.T.tolist()]
        self.bias = list(map(Fraction, scorer.model.bias.tolist()))

    def exact(self, row: Sequence[float]) -> list[tuple[Fraction, Fraction]]:
        """Each sum as it would be without rounding, and that of its parts without their signs."""
        cells = list(map(Fraction, row))
        found = []
        for weights, bias in zip(self.weights, self.bias, strict=True):
            parts = [bias, *(cell * weight for cell, weight in zip(cells, weights, strict=True))]
            found.append((sum(parts, Fraction()), sum(map(abs, parts), Fraction())))
        return found

    def gaps(self, row: Sequence[float]) -> list[tuple[Fraction, Fraction]]:
        """What has to be above zero for the class to be what it is, and the size of what it is made of."""
        exact = self.exact(row)
        if self.scorer.model.form.decide != "argmax":
            return [(abs(value), size) for value, size in exact]
        best = max(range(len(exact)), key=lambda place: exact[place][0])
        others = [each for place, each in enumerate(exact) if place != best]
        return [(exact[best][0] - value, exact[best][1] + size) for value, size in others]

    def must(self, row: Sequence[float]) -> bool | None:
        """Whether it must be answered, or must not be; None: either will do."""
        if not np.isfinite(row).all():
            return False
        slack, gaps = Fraction(16 * EPS * (len(row) + 2)), self.gaps(row)
        if all(gap > slack * size + Fraction(1e-290) and size < 1e299 for gap, size in gaps):
            return True
        if any(gap <= Fraction(EPS) * size or gap < Fraction(1e-301) or size > 1e301 for gap, size in gaps):
            return False
        return None

    def holds(self, rows: Sequence[Sequence[float]], chance: random.Random) -> tuple[int, int]:
        """How many of the rows were answered, and how many not. Raises AssertionError where the law is broken."""
        replies = [self.quick.answer(block(row), 0.0) for row in rows]
        said = [None if reply is None else class_in(reply) for reply in replies]
        for row, reply in zip(rows, replies, strict=True):
            must = self.must(row)
            assert must is None or must is (reply is not None), f"{list(row)}: {must}, {reply!r}"
        for size in (1, 2, 3, 5, 16, len(rows)):
            order = chance.sample(range(len(rows)), len(rows))
            for start in range(0, len(order), size):
                places = order[start : start + size]
                with np.errstate(all="ignore"):
                    right = self.scorer.score([tuple(rows[place]) for place in places], False).predictions
                for place, answer in zip(places, right, strict=True):
                    known = replies[place] is None or said[place] == answer
                    assert known, f"{list(rows[place])} is {answer} among {len(places)}, and was answered {said[place]}"
        answered = sum(reply is not None for reply in replies)
        return answered, len(replies) - answered


def ordinary(chance: np.random.Generator, columns: int, count: int) -> list[list[float]]:
    spread = 10.0 ** chance.uniform(-3, 3, columns)
    found: list[list[float]] = (chance.normal(size=(count, columns)) * spread).tolist()
    return found


def strange(chance: np.random.Generator, columns: int) -> list[list[float]]:
    """Rows that are huge, tiny, zero, not finite, or all of that."""
    signs = chance.choice([-1.0, 1.0], size=(6, columns))
    found = [
        *(signs[0] * 10.0 ** chance.uniform(280, 308, columns), signs[1] * 10.0 ** chance.uniform(150, 160, columns)),
        *(signs[2] * 5e-324 * chance.integers(1, 99, columns), signs[3] * 10.0 ** chance.uniform(-308, -290, columns)),
        *(signs[4] * 0.0, np.zeros(columns), signs[5] * sys.float_info.max, np.full(columns, 1e299)),
    ]
    mixed = np.where(chance.random(columns) < 0.5, found[0], found[2])
    rows = [each.tolist() for each in (*found, mixed)]
    for value in (math.inf, -math.inf, math.nan):
        rows.append([*rows[5][1:], value])
    return rows


def balanced(law: Law, row: Sequence[float], chance: random.Random) -> list[list[float]]:
    """The row with one cell such that two classes are as near to each other as can be; and a unit to each side."""
    exact = [value for value, _ in law.exact(row)]
    pairs = list(zip(exact, law.weights, strict=True))  # a gap, and what it grows by with each cell
    if law.scorer.model.form.decide == "argmax":
        best = exact.index(max(exact))
        pairs = [
            (exact[best] - value, [one - other for one, other in zip(law.weights[best], weights, strict=True)])
            for place, (value, weights) in enumerate(pairs)
            if place != best
        ]
    else:
        pairs = [chance.choice(pairs)]
    moves = []
    for place in range(len(row)):
        each = [-gap / steps[place] for gap, steps in pairs if steps[place]]
        if each:
            moves.append((min(each, key=abs), place))  # the next class that it comes to
    if not moves:
        return []
    move, place = min(moves, key=lambda each: (each[0].denominator != 1, abs(each[0])))
    middle = float(Fraction(row[place]) + move)
    near = middle, math.nextafter(middle, math.inf), math.nextafter(middle, -math.inf)
    return [[*row[:place], value, *row[place + 1 :]] for value in near]


TOLD = """#include <time.h>
#include <stdlib.h>
static int told(struct timespec *at)
{
    long long now = atoll(getenv("TOLD_MS"));
    at->tv_sec = now / 1000;
    at->tv_nsec = now % 1000 * 1000000;
    return 0;
}
"""


def compiled(folder: Path, *replaced: tuple[str, str]) -> Any:
    """The module as it is with some texts of its source replaced; the test is skipped where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: apt-get install gcc")
    text = SOURCE.read_text()
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    source, library = folder / "_quick.c", folder / "_quick.so"
    source.write_text(text)
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run(["gcc", "-std=c11", "-O1", "-shared", "-fPIC", include, source, "-o", library], check=True)
    spec = importlib.util.spec_from_file_location("_quick", library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_told_clock(folder: Path) -> Any:
    """The module as it is where the time of day is TOLD_MS of the environment: milliseconds since 1970."""
    now = ("clock_gettime(CLOCK_REALTIME, &now)", "told(&now)")
    return compiled(folder, ("#include <time.h>\n", TOLD), now)


def parts(**changed: Any) -> dict[str, Any]:
    """What the small one is made of, but for what is `changed`."""
    held = {
        "read": bytes,
        "decide": 0,
        "weights": block([1.0, -1.0]),
        "bias": block([0.0]),
        "ranges": block([0.0] * 4),
        "bounds": block(LATENCIES),
        "tails": (b"\r\n\r\n0", b"\r\n\r\n1"),
        "middle": b"\r\nX-Prediction-Id: ",
        "counts": memoryview(bytearray(800)).cast("d"),
        "places": tuple(range(7 + len(LATENCIES) + 1 + 2)),
    }
    return held | changed


def bare(**changed: Any) -> Any:
    module: Any = quick
    return module._quick.Quick(**parts(**changed))


def small(**options: Any) -> Any:
    """What tells whether one number is above the other."""
    compared = folded("sign", (0, 1), [[1.0], [-1.0]], [0.0]).compared
    assert compared is not None
    return made(compared, **options)


PLACES = parts()["places"]
TAILS = parts()["tails"]


ONE = EXAMPLE
NONE: dict[str, float] = dict.fromkeys(NAMES, 0.25)


def scorer(weights: Any = WEIGHTS) -> LinearScorer:
    return folded("sign", (0, 1), np.array(weights)[:, None], [BIAS])


def post(record: object, **headers: str) -> bytes:
    return request("POST", "/predict", record if isinstance(record, bytes) else json.dumps(record).encode(), headers)


def received(sock: Any, count: int = 1) -> list[bytes]:
    """So many replies, each from its first byte to its last."""
    found: list[bytes] = []
    data = b""
    while len(found) < count:
        top, ended, rest = data.partition(b"\r\n\r\n")
        size = int((re.search(rb"Content-Length: (\d+)", top) or [b"", b"0"])[1])
        if ended and len(rest) >= size:
            found.append(top + ended + rest[:size])
            data = rest[size:]
            continue
        more = sock.recv(1 << 16)
        assert more, (found, data)
        data += more
    assert not data, data
    return found


def classes(found: Sequence[bytes]) -> list[Any]:
    return [json.loads(reply.partition(b"\r\n\r\n")[2])["prediction"] for reply in found]


def noted_reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What Python is given to read, by any connection."""
    seen: list[bytes] = []
    read = Connection.read

    def noting(self: Connection, data: bytes) -> None:
        seen.append(data)
        read(self, data)

    monkeypatch.setattr(Connection, "read", noting)
    return seen


def known(sock: Any, record: object = ONE) -> bytes:
    """A request whose header is known now, and whose model has a lease."""
    data = post(record)
    for _ in range(3):
        sock.sendall(data)
        assert b"200 OK" in received(sock)[0]
    return data
