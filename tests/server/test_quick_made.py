"""What a quick answer cannot be made of is refused, and what its reader says counts."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from quick_parts import PLACES, ROW, TAILS, bare, block, class_in, drawn, made, ordinary, parts, small

module: Any = pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")

UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"ranges": b""}, "too many columns or sums, or none"),
    ({"bias": b""}, "too many columns or sums, or none"),
    ({"ranges": bytes(16 * 16385)}, "too many columns or sums, or none"),
    ({"bias": bytes(8 * 16385)}, "too many columns or sums, or none"),
    ({"ranges": bytes(16 * 129), "bias": bytes(8 * 128)}, "too many columns or sums, or none"),
    ({"tails": TAILS[:1]}, "too many classes or bounds, or too few"),
    ({"tails": ()}, "too many classes or bounds, or too few"),
    ({"tails": TAILS[:1] * 65}, "too many classes or bounds, or too few"),
    ({"bounds": b""}, "too many classes or bounds, or too few"),
    ({"bounds": bytes(8 * 64)}, "too many classes or bounds, or too few"),
    ({"ranges": bytes(33)}, "columns, weights and sums do not fit"),
    ({"ranges": bytes(48)}, "columns, weights and sums do not fit"),
    ({"bias": bytes(9)}, "columns, weights and sums do not fit"),
    ({"weights": bytes(8)}, "columns, weights and sums do not fit"),
    ({"weights": bytes(24)}, "columns, weights and sums do not fit"),
    ({"weights": bytes(17)}, "columns, weights and sums do not fit"),
    ({"weights": b""}, "columns, weights and sums do not fit"),
    ({"decide": -1}, "no such way to decide"),
    ({"decide": 3}, "no such way to decide"),
    ({"decide": 1}, "sums and classes do not fit"),
    ({"decide": 0, "bias": bytes(16), "weights": bytes(32)}, "sums and classes do not fit"),
    ({"decide": 2, "tails": TAILS * 2}, "sums and classes do not fit"),
    ({"tails": (*TAILS, b"2")}, "a sign tells two classes"),
    ({"tails": (b"0", "1")}, "a reply ends with bytes"),
    ({"tails": (None, b"1")}, "a reply ends with bytes"),
    ({"counts": memoryview(bytearray(800))}, "counts are float64"),
    ({"counts": bytearray(800)}, "counts are float64"),
    ({"counts": array("q", range(100))}, "counts are float64"),
    ({"counts": array("f", range(100))}, "counts are float64"),
    ({"places": PLACES[:-1]}, "another number of places is needed"),
    ({"places": (*PLACES, 1)}, "another number of places is needed"),
    ({"places": ()}, "another number of places is needed"),
    ({"places": (*PLACES[:-1], -1)}, "a place is not among the counts"),
    ({"places": (100, *PLACES[1:])}, "a place is not among the counts"),
    ({"places": (2**62, *PLACES[1:])}, "a place is not among the counts"),
    ({"counts": b""}, "not writable"),
]
NO_BYTES: tuple[Any, ...] = (None, "", bytearray(16))
NO_TUPLES: tuple[Any, ...] = (None, [], b"")
MISTYPED: list[dict[str, Any]] = [
    *({name: value} for name in ("weights", "bias", "ranges", "bounds", "middle") for value in NO_BYTES),
    *({name: value} for name in ("tails", "places") for value in NO_TUPLES),
    {"counts": None},
    {"counts": [0.0] * 100},
    {"decide": "sign"},
    {"places": ("0", *PLACES[1:])},
    {"places": (0.0, *PLACES[1:])},
]


@pytest.mark.parametrize(("changed", "message"), UNFIT)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, BufferError), match=message):
        bare(**changed)


@pytest.mark.parametrize("changed", MISTYPED)
def test_what_is_of_another_type_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        bare(**changed)


def test_what_is_missing_larger_than_any_place_or_only_to_be_read_is_refused() -> None:
    for name in parts():
        with pytest.raises(TypeError):
            module.Quick(**{key: value for key, value in parts().items() if key != name})
    with pytest.raises(TypeError):
        bare(more=1)
    with pytest.raises(OverflowError):
        bare(places=(2**70, *PLACES[1:]))
    with pytest.raises(BufferError):
        bare(counts=memoryview(bytes(800)).cast("d"))
    with pytest.raises(BufferError):
        bare(counts=memoryview(bytearray(1600)).cast("d")[::2])
    with pytest.raises(TypeError):
        module.Quick.answer = None
    with pytest.raises(TypeError):
        type("More", (module.Quick,), {})


def test_as_many_classes_and_products_as_there_may_be() -> None:
    numbers = np.random.default_rng(12)
    for decide, classes, columns in (("argmax", 64, 256), ("votes", 64, 8), ("sign", 2, 256)):
        scorer = drawn(numbers, decide, classes, columns)  # type: ignore[arg-type]  # they are ways to decide
        assert scorer.compared is not None
        one = made(scorer.compared)
        for row in ordinary(numbers, columns, 10):
            reply = one.answer(block(row), 0.0)
            assert reply is None or class_in(reply) == scorer.score([tuple(row)], False).predictions[0]
            assert reply is not None or decide == "votes"


def test_what_the_reader_says_counts() -> None:
    def refuse(body: bytes) -> bytes:
        raise LookupError(body)

    for read, error in (
        (refuse, LookupError),
        (lambda body: body[:-1], ValueError),
        (lambda body: body + b"\0", ValueError),
        (lambda body: b"", ValueError),
        (lambda body: bytearray(body), ValueError),
        (lambda body: "0123456789abcdef", ValueError),
        (lambda body: False, ValueError),
        (lambda: ROW, TypeError),
        (None, TypeError),
    ):
        one = small(read=read)
        with pytest.raises(error):
            one.answer(ROW, 0.0)
    assert small(read=lambda body: None).answer(ROW, 0.0) is None
    one = small()
    for words in ((), (ROW,), (ROW, "0"), ("text", 0.0), (bytearray(ROW), 0.0), (ROW, 0.0, 0.0)):
        with pytest.raises(TypeError):
            one.answer(*words)
