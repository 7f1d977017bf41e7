"""Holds the compiled beginning of a connection against exact arithmetic, with every address that it reads watched.

python scripts/fuzz_quick.py [SECONDS] [--source FILE]    60 seconds; exit 1 at the first packet that breaks the law

The law: a packet is read by Python or answered with one reply, never both, unless somebody who was called raises. A
reply names the class that fractions say, and is counted once; a packet that is read leaves no trace. Around it is all
that may go wrong: packets, connections and headers of every wrong kind, and callees that change them meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import random
import struct
import sys
import time
import weakref
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fuzz_flat import SOURCE as FLAT
from fuzz_flat import number

SOURCE = Path(__file__).resolve().parent.parent / "src" / "wherry" / "server" / "_quick.c"
SIGN, ARGMAX, VOTES = range(3)
SHAPES = ((SIGN, 2, 1), (SIGN, 2, 6), (ARGMAX, 2, 3), (ARGMAX, 4, 3), (VOTES, 3, 2), (VOTES, 5, 3))  # classes, columns
FIXED = 7  # cells of the board that each model has: requests, seconds, rows, seconds, batches, their sum, outside
CELLS = 64
TAIL = 20  # bytes of an id between its time and its number
IDLE = 0
LONG = 2048  # bytes of a header that is answered; of more, it need not be
HEADS = (
    b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 42",
    b"POST /predict HTTP/1.1\r\nHost: b:8080\r\nUser-Agent: \xff\x00\r\nContent-Length: 7",
    b"\n",
    b"",
    b"x" * LONG,
    b"x" * (LONG + 1),
)
SLOTS = ("state", "since", "fresh", "owed", "held", "writable", "write", "ways")
PACKETS = 500  # of one round, whose models remain
GROWTH = 4096  # bytes that the same packets may leave when they come again
READ, WRITTEN = "read", "written"


class Oddity(Exception):
    """What a callee raises."""


class Whole(int):
    pass


class Octets(bytes):
    pass


class Pair(tuple[Any, ...]):
    def __getitem__(self, place: Any) -> Any:
        return None

    def __len__(self) -> int:
        return 7


class Known(dict[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        raise Oddity

    def __len__(self) -> int:
        return 0

    def __missing__(self, key: Any) -> Any:
        return None


def chosen(decide: int, classes: int, sums: Sequence[Any]) -> int | None:
    """The class that sums tell; None: a tie."""
    if decide == SIGN:
        return int(sums[0] > 0) if sums[0] else None
    if decide == ARGMAX:
        best = max(sums)
        return sums.index(best) if sums.count(best) == 1 else None
    if not all(sums):
        return None
    pairs = ((one, other) for one in range(classes) for other in range(one + 1, classes))
    votes = Counter(one if each > 0 else other for (one, other), each in zip(pairs, sums, strict=True))
    return max(range(classes), key=lambda which: (votes[which], -which))


def float64(values: Sequence[float]) -> bytes:
    return array("d", values).tobytes()


class Model:
    """A Quick, and what it has to say."""

    def __init__(self, quick: Any, flat: Any, shape: tuple[int, int, int], chance: random.Random) -> None:
        self.decide, self.classes, self.columns = shape
        self.names = tuple(f"c{place}" for place in range(self.columns))
        self.reader = flat.Reader(self.names, (False,) * self.columns).read
        count = {SIGN: 1, ARGMAX: self.classes, VOTES: self.classes * (self.classes - 1) // 2}[self.decide]
        size = chance.choice((1.0, 1.0, 1.0, 1.0, 1.0, 1e-160, 1e160, 1e300))
        self.weights = [[chance.gauss(0, size) for _ in self.names] for _ in range(count)]
        if chance.random() < 0.15:
            self.weights[0][0] = chance.choice((0.0, math.inf, math.nan, 5e-324))
        if chance.random() < 0.1:
            self.weights[-1] = self.weights[0]
        self.bias = [chance.choice((0.0, chance.gauss(0, size))) for _ in range(count)]
        self.finite = all(map(math.isfinite, [*self.bias, *(each for row in self.weights for each in row)]))
        self.exact = (
            [list(map(Fraction, (bias, *row))) for bias, row in zip(self.bias, self.weights, strict=True)]
            if self.finite
            else []
        )
        self.lows, self.highs = ([chance.gauss(at, 1) for _ in self.names] for at in (-1, 1))
        self.bounds = sorted(chance.choice((1e-6, 1e-5, 1e-4, 1.0)) for _ in range(chance.randrange(1, 9)))
        self.tails = tuple(chance.randbytes(chance.randrange(30)) + b"%d" % each for each in range(self.classes))
        self.middle = chance.randbytes(chance.randrange(30))
        self.counts = array("d", bytes(8 * CELLS))
        self.places = chance.sample(range(CELLS), FIXED + len(self.bounds) + 1 + self.classes)
        self.seen: set[bytes] = set()
        self.leases: list[tuple[bytes, bytes]] = []
        self.until = -math.inf
        self.scene: Scene | None = None
        self.row: Any = None  # what is given in place of what is read
        self.direct = chance.random() < 0.5  # no Python between
        self.quick = quick.Quick(
            self.reader if self.direct else self.read,
            self.decide,
            float64([each for row in self.weights for each in row]),
            float64(self.bias),
            float64(self.lows + self.highs),
            float64(self.bounds),
            self.tails,
            self.middle,
            memoryview(self.counts),
            tuple(self.places),
        )

    def read(self, body: bytes) -> Any:
        assert type(body) is bytes
        if self.scene is not None:
            self.scene.meet("reader")
        return self.reader(body) if self.row is None else self.row

    def lease(self, until: float, chance: random.Random) -> None:
        begun, tail = chance.randbytes(chance.randrange(40)), chance.randbytes(TAIL // 2).hex().encode()
        self.quick.lease(begun, tail, until)
        self.leases = [*self.leases[-9:], (begun, tail)]  # as many as callees may renew it
        self.until = -math.inf if math.isnan(until) else until  # which never begins
        self.seen.clear()

    def body(self, chance: random.Random) -> bytes:
        """A record: ordinary, nearly a tie, or of numbers of every kind."""
        cells = [chance.gauss(0, chance.choice((1.0, 1.0, 1e9))) for _ in self.names]
        texts = list(map(repr, cells))
        if chance.random() < 0.4:
            place, which = chance.randrange(self.columns), chance.randrange(len(self.bias))
            one, bias = self.weights[which], self.bias[which]
            if self.decide == ARGMAX:
                one = [mine - other for mine, other in zip(one, self.weights[which - 1], strict=True)]
                bias -= self.bias[which - 1]
            rest = bias + sum(each * one[at] for at, each in enumerate(cells) if at != place)
            if one[place]:
                tie = -rest / one[place]
                texts[place] = repr(chance.choice((tie, math.nextafter(tie, math.inf), tie * (1 + 1e-13))))
        elif chance.random() < 0.3:
            texts[chance.randrange(self.columns)] = number(chance)
        fields = ", ".join(f'"{name}": {text}' for name, text in zip(self.names, texts, strict=True))
        return f"{{{fields}}}".encode() + b" " * chance.choice((*(0,) * 20, 1, 20, 1 << 16))

    def told(self, cells: Sequence[float]) -> tuple[int | None, bool]:
        """The class by exact arithmetic, None for none; and whether that is so clear that it has to be answered."""
        if not self.finite or not all(map(math.isfinite, cells)):
            return None, False
        exact, doubts = [], []
        for bias, *row in self.exact:
            products = [Fraction(cell) * weight for cell, weight in zip(cells, row, strict=True)]
            exact.append(sum(products, bias))
            doubts.append(Fraction(1e-12) * sum(map(abs, products), abs(bias)) + Fraction(1e-290))
        found = chosen(self.decide, self.classes, exact)
        if found is None or max(doubts) > Fraction(1e287):
            return found, False
        if self.decide == ARGMAX:
            others = [each for each in range(self.classes) if each != found]
            return found, all(exact[found] - exact[each] > doubts[found] + doubts[each] for each in others)
        return found, all(abs(each) > doubt for each, doubt in zip(exact, doubts, strict=True))

    def rounded(self, cells: Sequence[float], chance: random.Random) -> int | None:
        """The class by float64 added in an order that chance takes."""
        sums = []
        for row, bias in zip(self.weights, self.bias, strict=True):
            parts = [bias, *(cell * weight for cell, weight in zip(cells, row, strict=True))]
            chance.shuffle(parts)
            total = 0.0
            for part in parts:
                total += part
            sums.append(total)
        return chosen(self.decide, self.classes, sums)

    def outside(self, cells: Sequence[float]) -> int:
        return sum(cell < low or cell > high for cell, low, high in zip(cells, self.lows, self.highs, strict=True))

    def check_counts(self, times: int, found: int, strange: int) -> None:
        """`times` answers of one class were counted, and nothing else was; they are forgotten then."""
        expected = dict.fromkeys(range(CELLS), 0.0)
        requests, latency, rows, seconds, batches, total, outside = self.places[:FIXED]
        buckets, classes = self.places[FIXED : -self.classes], self.places[-self.classes :]
        expected |= dict.fromkeys((requests, rows, batches, total), times) | {outside: times * strange}
        expected[classes[found]] = times
        took = self.counts[latency]
        if times == 1:
            late = next((at for at, bound in enumerate(self.bounds) if bound >= took), len(self.bounds))
            expected[buckets[late]] = 1.0
        else:
            assert sum(self.counts[each] for each in buckets) == times, "the times of answers are not counted"
            expected |= {each: self.counts[each] for each in buckets}
        assert 0.0 <= self.counts[seconds] <= took, f"{self.counts[seconds]} of {took} seconds are the model's"
        expected |= {latency: took, seconds: self.counts[seconds]}
        if times == 0:
            assert took == 0.0
        assert self.counts.tolist() == list(expected.values()), f"{times} answers are counted as {self.counts}"
        self.counts[:] = array("d", bytes(8 * CELLS))

    def check_reply(self, reply: Any, found: int, begin: int, end: int) -> None:
        """`reply` is one of this class, written between two milliseconds."""
        assert type(reply) is bytes, f"written: {reply!r}"
        for begun, tail in self.leases:
            id = reply[len(begun) : len(begun) + 36]
            if reply == begun + id + self.middle + id + self.tails[found] and id[13:33] == tail:
                moment = int(id[:8] + id[9:13], 16)
                assert id[8:9] == b"-", id
                assert begin <= moment <= end, f"{id!r} is not of its time"
                assert int(id[33:], 16) < 4096, id
                assert id not in self.seen, f"{id!r} twice"
                self.seen.add(id)
                return
        raise AssertionError(f"{reply!r} is not class {found} of {self.leases}, {self.middle!r}, {self.tails}")


class Owed:
    """What has a length of its own."""

    def __init__(self, scene: Scene, length: Any) -> None:
        self.scene, self.length = scene, length

    def __len__(self) -> int:
        self.scene.meet("length")
        if self.length is None:
            raise Oddity
        return self.length  # type: ignore[no-any-return]  # hostile


class Key:
    """What is found where a header is looked for."""

    def __init__(self, scene: Scene, head: bytes, same: bool) -> None:
        self.scene, self.head, self.same = scene, head, same

    def __hash__(self) -> int:
        return hash(self.head)

    def __eq__(self, other: object) -> bool:
        self.scene.meet("key")
        return self.same


class Since:
    """What is told when it is forgotten."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def __del__(self) -> None:
        self.scene.meet("end")


class Scene:
    """One connection, one packet, and who does what when called."""

    def __init__(self, law: Law, model: Model, chance: random.Random) -> None:
        self.law, self.model, self.chance = law, model, chance
        self.calls: list[tuple[str, Any]] = []
        self.inner: list[tuple[str, Any]] = []  # of packets that came in the midst of this one
        self.deeds: dict[str, Callable[[], None]] = {}
        self.done: set[str] = set()
        self.raised: Exception | None = None
        self.head = chance.choice(HEADS)
        self.body = model.body(chance)
        self.data: Any = self.head + b"\r\n\r\n" + self.body
        self.line = law.line(self)
        self.state()

    def meet(self, who: str) -> None:
        """Do what `who` was to do when called, once."""
        deed = self.deeds.pop(who, None)
        if deed is not None:
            self.done.add(who)
            deed()

    def writer(self) -> Callable[[Any], Any]:
        def write(reply: Any) -> str:
            self.calls.append((WRITTEN, reply))
            self.meet(WRITTEN)
            return WRITTEN

        return write

    def state(self) -> None:
        """The connection as it is when a packet comes, with at times a thing or two that are wrong."""
        line, chance = self.line, self.chance
        line.state, line.fresh = IDLE, True
        line.since = 0.5 if chance.random() < 0.9 else Since(self)
        line.owed = deque() if chance.random() < 0.8 else Owed(self, 0)
        line.held, line.writable, line.write = False, True, self.writer()
        line.ways = {self.head: (self.model.quick, len(self.body))}
        if chance.random() < 0.3:
            self.spoil_data()
        if chance.random() < 0.25:
            self.spoil_ways()
        for _ in range(chance.choice((0, 0, 0, 0, 1, 2))):
            name = chance.choice(SLOTS)
            if chance.random() < 0.3:
                with contextlib.suppress(AttributeError):
                    delattr(line, name)
            else:
                setattr(line, name, self.other(name))

    def other(self, name: str) -> Any:
        """Something that may stand at `name`, and seldom does."""
        chance = self.chance
        match name:
            case "state":
                return chance.choice((1, 2, -1, True, False, 0.0, None, "0", Whole(0), [], 1 << 70))
            case "held" | "writable" | "fresh":
                return chance.choice((True, False, None, 0, 1, "", [], self.line))
            case "owed":
                lengths = (0, 0, 1, None, -1, sys.maxsize, 1 << 70, "x", True)
                return chance.choice(
                    (*([], (), {}, "", [1], deque([1]), None, 5, object(), b"", self.line, range(1 << 40)),
                     *(Owed(self, length) for length in lengths))
                )  # fmt: skip
            case "since":
                return chance.choice((None, 1.0, "x", Since(self), self.line))
            case "write":
                return chance.choice((None, 1, "x", self.writer(), self.line))
            case _:
                known = getattr(self.line, "ways", {})
                return chance.choice(({}, [], None, 1, (), self.head, MappingProxyType({}), Known(), self.line, known))

    def spoil_ways(self) -> None:
        """Headers that are known otherwise."""
        chance, quick, size = self.chance, self.model.quick, len(self.body)
        odd = (
            *((quick, size, size), (quick,), (), (size, quick), [quick, size], quick, None, size),
            *((None, size), (type(quick), size), (self.line, size), (self.model, size)),
            *((quick, each) for each in (-1, 0, size + 1, size - 1, 1 << 62, 1 << 64, -1 << 70, True, Whole(size))),
            *((quick, each) for each in (float(size), str(size), None, b"", self.line)),
            *(Pair((quick, size)), Pair((quick, size)), Pair(())),
        )
        ways: dict[Any, Any] = chance.choice((dict, dict, Known, OrderedDict))()
        if chance.random() < 0.4:
            same = chance.random() < 0.5
            ways[Key(self, self.head, same)] = (quick, size) if same else None
        if chance.random() < 0.9:
            ways[self.head] = chance.choice(odd) if chance.random() < 0.6 else (quick, size)
        for _ in range(chance.randrange(4)):
            ways[chance.randbytes(3)] = (quick, size)
        self.line.ways = ways

    def spoil_data(self) -> None:
        """Another packet than the one that is known."""
        chance, data = self.chance, bytearray(self.data)
        place = chance.randrange(len(self.head) + 5) if chance.random() < 0.7 else chance.randrange(len(data) + 1)
        match chance.randrange(15):
            case 0:
                data.insert(place, chance.randrange(256))
            case 1:
                del data[place : place + chance.choice((1, 1, 2, 9))]
            case 2:
                data[place : place + 1] = chance.randbytes(1)
            case 3:
                data[place:place] = data[place : place + 1]
            case 4:
                del data[place:]
            case 5:
                data *= 2
            case 6:
                data += chance.randbytes(1)
            case 7:
                data[:0] = b"\r\n" * chance.randrange(1, 5)
            case 8:
                data[:] = b"\r\n" * chance.randrange(5)
            case 9:
                data[:] = chance.randbytes(chance.randrange(40))
            case 10:
                data += b" " * (1 << 18)
        self.data = bytes(data)
        if chance.random() < 0.3:
            text = self.data.decode("latin1")
            self.data = chance.choice((bytearray(data), memoryview(data), text, None, 0, [], Octets(data), self.line))

    def foresee(self) -> tuple[set[Any], int | None, int]:
        """How it may end: READ, WRITTEN or an error of Python's own; the class of a reply, and its cells out of range.

        It may end otherwise where somebody who is called changes something before the reply.
        """
        line, data = self.line, self.data
        state = {name: getattr(line, name) for name in SLOTS if hasattr(line, name)}
        if not (
            isinstance(data, bytes)
            and {"state", "owed", "write", "ways"} <= state.keys()
            and (state["state"] is IDLE and state.get("held") is False and state.get("writable") is True)
            and (isinstance(state["ways"], dict) and dict.__len__(state["ways"]))
        ):
            return {READ}, None, 0
        try:
            if len(state["owed"]):
                return {READ}, None, 0
        except Oddity:
            return {Oddity}, None, 0
        except (TypeError, ValueError, OverflowError) as error:
            return {READ, type(error)}, None, 0
        head, end, body = bytes(data).partition(b"\r\n\r\n")
        ways = state["ways"]
        way = dict.get(ways, head) if end else None
        if not isinstance(way, tuple) or tuple.__len__(way) != 2:
            return {READ}, None, 0
        quick, size = tuple.__iter__(way)
        if quick is not self.model.quick:
            return {READ}, None, 0
        if not isinstance(size, int) or not -sys.maxsize - 1 <= size <= sys.maxsize:
            return {READ, TypeError, OverflowError}, None, 0
        if size != len(body):
            return {READ}, None, 0
        now, until = time.monotonic(), self.model.until
        ends: set[Any] = {READ} if until < now + 3.0 or len(head) > LONG else set()
        row = self.model.reader(body) if self.model.row is None else self.model.row
        if row is None:
            return {READ}, None, 0
        if not isinstance(row, bytes) or len(row) != 8 * self.model.columns:
            return {READ} if until <= now else ends | {ValueError}, None, 0
        cells = struct.unpack(f"{self.model.columns}d", row)
        found, clear = self.model.told(cells)
        if found is None:
            return {READ}, None, 0
        if not clear:
            ends.add(READ)
            if self.model.rounded(cells, self.chance) != found:
                return {READ}, None, 0
        if until <= now:  # which may be renewed yet
            return {READ}, found, self.model.outside(cells)
        return ends | {WRITTEN if callable(state["write"]) else TypeError}, found, self.model.outside(cells)

    def plan(self) -> None:
        """What callees are to do: change something, raise, or bring another packet."""
        chance = self.chance
        if chance.random() < 0.6:
            return
        for who in chance.sample(("length", "key", "reader", "end", READ, WRITTEN), chance.choice((1, 1, 2, 6))):
            deeds = [self.forget, self.change, self.unlearn, self.renew, self.drop]
            if who != "end":  # nobody hears what that raises
                deeds += [self.fail, self.come]
            self.deeds[who] = chance.choice(deeds)

    def forget(self) -> None:
        with contextlib.suppress(AttributeError):
            delattr(self.line, self.chance.choice(SLOTS))

    def change(self) -> None:
        name = self.chance.choice(SLOTS)
        setattr(self.line, name, self.other(name))

    def unlearn(self) -> None:
        ways = getattr(self.line, "ways", None)
        if isinstance(ways, dict):
            ways.clear()

    def renew(self) -> None:
        self.model.lease(time.monotonic() + self.chance.choice((-1.0, 1e6)), self.chance)

    def drop(self) -> None:
        for name in SLOTS:
            with contextlib.suppress(AttributeError):
                delattr(self.line, name)
        gc.collect()

    def fail(self) -> None:
        self.raised = Oddity()
        raise self.raised

    def come(self) -> None:
        calls, self.calls = self.calls, []
        try:
            self.line.data_received(self.chance.choice((self.data, b"x")))
            assert len(self.calls) == 1, f"within another packet: {self.calls}"
        except Exception as error:
            self.raised = error
            raise
        finally:
            self.inner += self.calls
            self.calls = calls

    def play(self) -> bool:
        """Whether it was answered. Raises AssertionError where the law is broken."""
        model, line, data = self.model, self.line, self.data
        ends, found, strange = self.foresee()
        self.plan()
        model.scene = self
        alone = not self.deeds  # else what a callee forgets has to be gone
        before = {name: getattr(line, name, None) for name in ("since", "fresh") if alone}
        kept = [data, self.head, model.quick, *model.leases[-1:], *model.tails]
        kept += [getattr(line, name, None) for name in ("owed", "write", "ways") if alone]
        common = (type(None), int, str, type(line))  # held in many places
        kept = [each for each in kept if not isinstance(each, common)]
        counts = list(map(sys.getrefcount, kept))
        begin, started = time.time_ns() // 1_000_000, time.monotonic()
        error: Exception | None = None
        try:
            line.data_received(data)
        except Exception as raised:  # noqa: BLE001  # looked at below
            error = raised
        ended, end = time.monotonic(), time.time_ns() // 1_000_000
        model.scene = None
        if isinstance(error, AssertionError):
            raise error
        early = self.done - {READ, WRITTEN}
        assert len(self.calls) <= 1, f"called: {self.calls}"
        if error is None:
            assert self.calls, "neither read nor answered"
            how: Any = self.calls[0][0]
        else:
            how = type(error)
            others = {TypeError, ValueError, OverflowError} if early else set()
            assert error is self.raised or how in ends | others, f"{error!r}, where {ends} may be"
        if error is None or self.calls:
            assert self.calls[0][0] in ends or early, f"{self.calls}, where only {ends} may be"
        assert all(made is data for what, made in self.calls if what == READ), "another packet is read"
        self.check_answers(found, strange, (begin, end), bool(early) or error is not None)
        if not self.done:
            self.check_left(how, before, started, ended)
            self.calls.clear()
            error = None
            now = list(map(sys.getrefcount, kept))
            assert now == counts, f"{counts} references to {kept} are now {now}"
        return bool(how == WRITTEN)

    def check_answers(self, found: int | None, strange: int, between: tuple[int, int], lost: bool) -> None:
        """Replies are of class `found`, and counted. lost: one may not have been written."""
        replies = [made for what, made in self.calls + self.inner if what == WRITTEN]
        assert found is not None or not replies, f"answered: {replies}"
        for reply in replies:
            self.model.check_reply(reply, found or 0, *between)
        times = len(replies)
        if times < self.model.counts[self.model.places[0]]:
            assert lost, "counted, and not written"
            times += 1
        self.model.check_counts(times, found or 0, strange)

    def check_left(self, how: Any, before: dict[str, Any], started: float, ended: float) -> None:
        """What the connection holds when nobody touched it."""
        after = {name: getattr(self.line, name, None) for name in ("since", "fresh")}
        if how == WRITTEN:
            since: Any = after.pop("since")
            assert started <= since <= ended, f"{since} is not from {started} to {ended}"
            assert sys.getrefcount(since) == 3, "references to the time are left"
            assert after["fresh"] is False
            reply = self.calls[0][1]
            assert sys.getrefcount(reply) == 3, "references to the reply are left"
        elif self.calls or how is Oddity:
            assert all(after[name] is before[name] for name in before), f"{after} after {before}"


class Law:
    """What a connection's beginning does with a packet."""

    def __init__(self, quick: Any, flat: Any) -> None:
        self.quick, self.flat = quick, flat

        class Line(quick.Line):  # type: ignore[misc]  # of a module that is not known before
            scene: Scene

            def read(self, data: Any) -> str:
                self.scene.calls.append((READ, data))
                self.scene.meet(READ)
                return READ

        self.made = Line

    def line(self, scene: Scene) -> Any:
        line = self.made()
        line.scene = scene
        return line

    def models(self, chance: random.Random) -> list[Model]:
        return [Model(self.quick, self.flat, shape, chance) for shape in SHAPES]

    def holds(self, models: list[Model], chance: random.Random) -> bool:
        """Whether a packet was answered."""
        model = chance.choice(models)
        if chance.random() < 0.2:
            now = time.monotonic()
            ends = (*(now + 1e6,) * 12, math.nan, math.inf, -math.inf, now - 1, now + 2e-5, 0.0)
            model.lease(chance.choice(ends), chance)
        if chance.random() < 0.1:
            size = 8 * model.columns
            odd: tuple[Any, ...] = (
                b"",
                bytes(size - 1),
                bytes(size + 8),
                "x",
                1,
                bytearray(size),
                [],
                b"\xff" * size,
                Octets(size),
            )
            model.row = chance.choice((*odd, chance.randbytes(size), chance.randbytes(size)))
            if model.direct:
                model.row = None
        else:
            model.row = None
        scene = Scene(self, model, chance)
        try:
            return scene.play()
        except AssertionError as error:
            line = {name: getattr(scene.line, name, "unset") for name in SLOTS}
            where = f"model {model.decide}, {scene.data!r:.999}, {line!s:.999}, done by callees: {scene.done}"
            raise AssertionError(f"{error}\n{where}") from error
        finally:
            scene.deeds.clear()
            scene.line.__dict__.clear()  # a cycle
            line = scene.line
            for name in SLOTS:
                with contextlib.suppress(AttributeError):
                    delattr(line, name)

    def round(self, seed: int, packets: int) -> int:
        """How many of so many packets were answered."""
        chance = random.Random(seed)
        models = self.models(chance)
        return sum(self.holds(models, chance) for _ in range(packets))

    def leaves_nothing(self, seed: int) -> None:
        """The same packets, come again, take no more memory, and all that Python shares is held as often."""
        shared = (True, False, None, IDLE)
        allocated = ctypes.CDLL(None)["__sanitizer_get_current_allocated_bytes"]  # not as an attribute: two underscores
        allocated.restype = ctypes.c_size_t
        sizes, counts = [], []
        for _ in range(5):
            self.round(seed, PACKETS // 2)
            gc.collect()
            sizes.append(allocated())
            counts.append(list(map(sys.getrefcount, shared)))
        assert sizes[-1] - sizes[-3] < GROWTH, f"memory grows: {sizes}"
        drift = [last - before for last, before in zip(counts[-1], counts[-3], strict=True)]
        assert max(map(abs, drift)) < PACKETS / 20, f"references to {shared} drift by {drift}"

    def collects(self) -> None:
        """A connection that nothing holds but itself is forgotten, as is a reader that holds its Quick."""
        for slots in (("write",), ("owed",), ("ways",), ("write", "owed", "ways")):
            line = self.made()
            cycles = {"write": line.read, "owed": [line], "ways": {b"": line}}
            for name in slots:
                setattr(line, name, cycles[name])
            gone = weakref.ref(line)
            del line, cycles
            gc.collect()
            assert gone() is None, f"a cycle through {slots} is not collected"
        model = Model(self.quick, self.flat, SHAPES[0], random.Random(1))
        gone_model = weakref.ref(model)
        del model
        gc.collect()
        assert gone_model() is None, "a cycle through a Quick is not collected"


def buffers(chance: random.Random) -> tuple[Any, ...]:
    """What may be given in place of counts."""
    size = 8 * chance.choice((0, 9, CELLS, CELLS, CELLS))
    view = memoryview(bytearray(size))
    released = memoryview(b"")
    released.release()
    return (
        *(bytes(size), bytearray(size), array("d", bytes(size)), array("q", bytes(size)), array("f", bytes(size))),
        *(view.cast("d"), view.cast("q"), memoryview(bytes(size)).cast("d"), view.cast("d")[::-1], view.cast("d")[::2]),
        *(memoryview(bytearray(8 * CELLS)).cast("d", (8, CELLS // 8)), memoryview(bytearray(8)).cast("d", ())),
        *(memoryview(bytearray(size + 8))[1 : size + 1].cast("d"), released, (ctypes.c_double * 16)()),
    )


def built(quick: Any, chance: random.Random) -> bool:
    """Whether a Quick was made of what does not fit, or hardly. It is used then."""
    decide, classes, columns = chance.choice(
        (*SHAPES, (VOTES, 64, 1), (ARGMAX, 64, 256), (ARGMAX, 64, 257), (SIGN, 2, 1 << 14))
    )
    count = {SIGN: 1, ARGMAX: classes, VOTES: classes * (classes - 1) // 2}[decide]
    counts = array("d", bytes(8 * 256))
    places: tuple[Any, ...] = tuple(range(FIXED + 2 + 1 + classes))
    fit: dict[str, Any] = {
        "read": lambda body: float64([1.0] * columns) if body else None,
        "decide": decide,
        "weights": float64([1.0] * (count * columns)),
        "bias": float64([chance.gauss(0, 1) for _ in range(count)]),
        "ranges": float64([0.0] * (2 * columns)),
        "bounds": float64([0.1, 0.2]),
        "tails": tuple(b"%d" % each for each in range(classes)),
        "middle": b"-",
        "counts": memoryview(counts),
        "places": places,
    }
    views = buffers(chance)
    sizes = (0, 1, 8, 15, 16, 8 * columns, 8 * columns - 1, 16 * columns + 1, 8 * 63, 8 * 64, 8 * ((1 << 14) + 1))
    common: tuple[Any, ...] = (
        None,
        0,
        1,
        2,
        3,
        -1,
        1 << 31,
        1 << 40,
        1 << 70,
        2.5,
        "x",
        (),
        [],
        Octets(8),
        *map(bytes, sizes),
    )
    odd: dict[str, tuple[Any, ...]] = {
        "tails": ((b"",), (b"", b""), (b"", "x"), (None,) * classes, (b"",) * 65, [b"", b""], Pair((b"", b""))),
        "counts": views,
        "places": (
            *(places[1:], (*places, 1), list(places)),
            *((each, *places[1:]) for each in (-1, 255, 256, 1 << 70, 1.0, None, True)),
        ),
    }
    given = dict(fit)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        name = chance.choice(list(fit))
        given[name] = chance.choice(odd.get(name, common) if chance.random() < 0.8 else common)
    if chance.random() < 0.1:
        given.pop(chance.choice(list(given)), None)
    if chance.random() < 0.05:
        given["other"] = 1
    made = answered = None
    try:
        made = quick.Quick(**given) if chance.random() < 0.7 else quick.Quick(*given.values())
        for _ in range(3):
            tail = bytes(chance.choice((TAIL, TAIL, TAIL, 19, 21, 10, 0)))
            try:
                made.lease(chance.choice((b"", b"x", b"y", "x", None)), tail, 1e12)
                assert len(tail) == TAIL, tail
            except (TypeError, ValueError):
                assert made.until == 1e12 or not answered
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                answered = made.answer(
                    chance.choice((b"", b"x", b"x", "x", None)), chance.choice((0, 0.5, "x", 1 << 2000))
                )
            assert answered is None or type(answered) is bytes, answered
    except (TypeError, ValueError, OverflowError, BufferError):
        assert made is None
    fits = made is not None
    del made
    for each in (*views, fit["counts"]):
        if isinstance(each, memoryview):
            each.release()  # BufferError: it is held by what was never made
    return fits


def rounds(seconds: float, seed: int) -> Iterator[int]:
    """A seed for each round, until the time has passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield seed
        seed += 1


def fuzz(quick: Any, flat: Any, seconds: float, seed: int) -> str:
    """What was tried, in a line. Raises AssertionError at a packet that breaks the law."""
    law = Law(quick, flat)
    gc.collect()
    gc.freeze()  # to look at what is made here alone
    gc.disable()  # what it forgets while a packet is read would look like references that were lost
    tried = answered = made = 0
    for each in rounds(seconds, seed):
        if tried % (20 * PACKETS) == 0:
            law.leaves_nothing(each)
        law.collects()
        made += sum(built(quick, random.Random(f"{each} {number}")) for number in range(50))
        answered += law.round(each, PACKETS)
        tried += PACKETS
    return f"{tried:,} packets, {answered:,} of them answered; {made:,} models made of what hardly fits"


if __name__ == "__main__":
    from sanitized import run

    sys.exit(run(__doc__, (SOURCE, FLAT), fuzz))
