"""The compiled reader of records: what it reads is what msgspec reads, bit for bit, and ordinary clients are read."""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
import runpy
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

flat: Any = pytest.importorskip(
    "wherry.server.doors._flat", reason="the reader of records is not compiled: no compiler"
)

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fuzz_flat.py"
SOURCE = ROOT / "src" / "wherry" / "server" / "doors" / "_flat.c"
FUZZ = runpy.run_path(str(SCRIPT))
Law, SCHEMAS = FUZZ["Law"], FUZZ["SCHEMAS"]
LAWS = [Law(flat.Reader, schema) for schema in SCHEMAS]
NUMBER, INTEGER = LAWS[0], LAWS[1]  # of one column: a, n
QUICK = settings(max_examples=150, deadline=None)

# numbers of JSON, and what looks like one
NEARLY = re.compile(r"[-+]?[0-9]{0,21}(\.[0-9]{0,24})?([eE][-+]?[0-9]{0,4})?", re.ASCII)
STRANGE = (
    "01", "-01", "1.", ".5", "-.5", "+1", "1e", "1e+", "1.e5", "0x1", "NaN", "Infinity", "-", "--1", "1_0", "1.5.5",
    "1e5.5", "1e5e5", "00", "0.0.0", "1f", "1,", "1,,", "null", "true",
    "1 0", "1\x00", "\N{ARABIC-INDIC DIGIT ONE}", '"1"', "[1]", "{}", "",
)  # fmt: skip  # a list
VALID = (
    "0", "0.0", "0e5", "0E+999", "0.000e-999", "-0", "-0.0", "-0e0", "1E5", "1e-05", "1.0e+05", "1e22", "1e23",
    "1e-27", "1e-28", "1e-400", "1e400", "9007199254740992", "9007199254740993", "-9007199254740992",
    "9007199254740993.0", "123456789012345678e-27", "18446744073709551615", "18446744073709551616",
    "18446744073709551616.5", "9999999999999999999e-27", "1844674407370955161600000000000000000000.5",
    "1.7976931348623157e308", "5e-324", "2.2250738585072011e-308", "62.5364939768271845828", "8.10109172351e-10",
    "3.518437208883201171875e13", "0.500000000000000166533453693773481063544750213623046875",
    "9" * 19, "9" * 20, "1" + "0" * 30, "0." + "0" * 26 + "1", "0." + "0" * 500 + "1", "0." + "0" * 500,
)  # fmt: skip  # a list


def refused(law: Any, body: bytes) -> None:
    """The reader leaves `body` to msgspec."""
    assert not law.holds(body), body


@st.composite
def records(draw: st.DrawFn) -> tuple[Any, bytes]:
    """The law of some names, and a record of them in any order, as some client writes it."""
    names = draw(
        st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32), max_size=12),
            st.booleans(),
            min_size=1,
            max_size=9,
        )
    )
    law = Law(flat.Reader, names)
    order = draw(st.permutations(list(names)))
    value = {
        name: draw(st.integers(-(2**63), 2**63 - 1))
        if names[name]
        else draw(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99))
        for name in order
    }
    separators = draw(st.sampled_from(FUZZ["SEPARATORS"]))
    return law, json.dumps(value, ensure_ascii=False, separators=separators).encode()


@settings(QUICK, max_examples=40)  # each makes a reader and a decoder
@given(records())
def test_a_record_is_read_as_msgspec_reads_it(one: tuple[Any, bytes]) -> None:
    law, body = one
    law.holds(body)


@QUICK
@given(st.from_regex(NEARLY, fullmatch=True))
def test_numbers_and_what_looks_like_one(text: str) -> None:
    for law, name in ((NUMBER, "a"), (INTEGER, "n")):
        law.holds(f'{{"{name}": {text}}}'.encode())
        law.holds(f'{{"{name}":{text}}}         '.encode())  # with enough behind it to be read by words


@pytest.mark.parametrize("text", [*STRANGE, *VALID])
def test_numbers_that_were_thought_of(text: str) -> None:
    for law, name in ((NUMBER, "a"), (INTEGER, "n")):
        for behind in ("", " " * 12, "\n"):
            read = law.holds(f'{{"{name}": {text}{behind}}}'.encode())
            assert not (read and text in STRANGE)


@pytest.mark.parametrize("law", LAWS)
def test_a_body_may_end_and_break_anywhere(law: Any) -> None:
    chance = random.Random(5)
    schema = SCHEMAS[LAWS.index(law)]
    names = list(schema)[:4] if len(schema) > 9 else list(schema)
    law = Law(flat.Reader, {name: schema[name] for name in names})
    texts = [str(chance.randrange(99)) if schema[name] else repr(chance.gauss(0, 1)) for name in names]
    body = ("{" + ", ".join(f'"{name}": {text}' for name, text in zip(names, texts, strict=True)) + "}").encode()
    assert law.holds(body)
    for place in range(len(body)):
        refused(law, body[:place])
        refused(law, body[place + 1 :])
        law.holds(body[:place] + body[place + 1 :])
        refused(law, body[:place] + b"\0" + body[place:])
        for letter in b'0}",:-.eE \\\xff':
            law.holds(body[:place] + bytes((letter,)) + body[place:])
            law.holds(body[:place] + bytes((letter,)) + body[place + 1 :])


def test_what_ordinary_clients_send_is_read() -> None:
    chance = random.Random(6)
    for law, schema in zip(LAWS, SCHEMAS, strict=True):
        for separators in FUZZ["SEPARATORS"]:
            for _ in range(40):
                names = list(schema)
                chance.shuffle(names)
                number = chance.choice(
                    (
                        chance.random,
                        lambda: chance.gauss(0, 1e6),
                        lambda: 10.0 ** -chance.randrange(6) * chance.randrange(1, 99),
                    )
                )
                value = {name: chance.randrange(-(2**40), 2**40) if schema[name] else number() for name in names}
                body = json.dumps(value, ensure_ascii=False, separators=separators).encode()
                assert law.holds(body), body
                assert law.holds(b"\r\n\t " + body + b" \r\n"), body
    for text in (
        "0",
        "5",
        "-5",
        "0.5",
        "1e-05",
        "1.5e-07",
        "1e+16",
        "1E5",
        "0.1",
        "17.99",
        "2019.0",
        "-1.2345678901234567",
    ):
        assert NUMBER.holds(f'{{"a": {text}}}'.encode())


def ties() -> Iterator[tuple[str, float]]:
    """Decimals exactly between two float64, and beside them; the float64 of each as Python has it."""
    chance = random.Random(7)
    for places in range(5):
        for _ in range(40):
            middle = 2 * chance.randrange(2**52, 2**53) + 1  # 54 bits, the last one set
            scaled = middle * 5**places
            for digits in (scaled - 1, scaled, scaled + 1):
                if digits < 10**19:
                    text = f"{digits}e-{places}"
                    yield text, float(text)


def hardest() -> Iterator[tuple[int, int]]:
    """Digits and places of which digits / 10**places lies next to a middle between two float64, as near as there is."""
    for places in range(1, 28):
        five = 5**places
        for shift in range(1, 70):
            for rest in (-3, -1, 1, 3):
                first = -(-(2**53 * five) // 2**shift)
                digits = first + (rest * pow(2, -shift, five) - first) % five
                if digits * 2**shift < 2**54 * five and 2**40 < digits < 10**19:
                    yield digits, places


def test_halves_are_rounded_as_python_rounds_them() -> None:
    for text, value in ties():
        assert NUMBER.holds(f'{{"a": {text}}}'.encode()), text
        assert NUMBER.read(f'{{"a": {text}}}'.encode()) == struct.pack("d", value), text


def test_the_hardest_decimals_are_rounded_as_python_rounds_them() -> None:
    tried = missed = 0
    for digits, places in hardest():
        point = f"{digits:028}"
        text = point[:-places].lstrip("0") or "0"
        for form in (f"{text}.{point[-places:]}", f"-{digits}e-{places}"):
            body = f'{{"a": {form}}}'.encode()
            assert NUMBER.holds(body), form
            assert NUMBER.read(body) == struct.pack("d", float(form)), form
        tried += 1
        missed += float(digits) / 10.0**places != float(f"{digits}e-{places}")
    assert tried > 500
    assert missed > tried / 10  # the control: to divide one float64 by another is wrong for many of these


def test_digits_are_divided_as_python_divides_them() -> None:
    chance = random.Random(8)
    for _ in range(20_000):
        text = f"{chance.randrange(10 ** chance.randrange(1, 20))}e-{chance.randrange(28)}"
        read = NUMBER.read(f'{{"a":{text}}}'.encode())
        assert read == struct.pack("d", float(text)), text


def test_keys_twice_missing_unknown_and_escaped_are_left_to_msgspec() -> None:
    law = Law(flat.Reader, {"a": False, "b": False, "ab": False})
    assert law.holds(b'{"a":1,"b":2,"ab":3}')
    for body in (
        *(
            b'{"a":1,"a":2,"ab":3}',
            b'{"a":1,"b":2,"ab":3,"a":4}',
            b'{"a":1,"b":2}',
            b'{"a":1,"b":2,"c":3}',
            b"{}",
            b"{",
        ),
        *(
            b'{"a":1,"b":2,"ab":3,"c":4}',
            b'{"a":1,"b":2,"\\u0061b":3}',
            b'{"A":1,"b":2,"ab":3}',
            b'{"a":1,"b":2,"ab":3,}',
        ),
        *(
            b'{,"a":1,"b":2,"ab":3}',
            b'{"a":1 "b":2,"ab":3}',
            b'{"a" 1,"b":2,"ab":3}',
            b'{"a":1,"b":2,"ab":3}}',
            b"",
            b" ",
        ),
        *(b'{"a":1,"b":2,"ab":3} x', b'[{"a":1,"b":2,"ab":3}]', b'\xef\xbb\xbf{"a":1,"b":2,"ab":3}', b"{a:1,b:2,ab:3}"),
        *(b'{"a":1,"b":null,"ab":3}', b'{"a":1,"b":"2","ab":3}', b'{"a":1,"b":[2],"ab":3}', b"{'a':1,'b':2,'ab':3}"),
    ):
        refused(law, body)
        assert law.holds(b'{"a":1,"b":2,"ab":3}')  # whatever came before


def test_the_order_may_change_from_call_to_call() -> None:
    chance = random.Random(9)
    for law, schema in zip(LAWS, SCHEMAS, strict=True):
        for _ in range(200):
            names = chance.sample(list(schema), len(schema))
            body = json.dumps({name: place for place, name in enumerate(names)}, ensure_ascii=False).encode()
            assert law.holds(body)
            law.holds(body.replace(b'": 0', b'": x'))  # one that is broken in between
            law.holds(body[: chance.randrange(len(body))])
            assert struct.unpack(f"{len(names)}d", law.read(body)) == tuple(names.index(name) for name in schema)


@pytest.mark.parametrize("wrong", ["the last bit", "one thing more", "the sign of zero", "another order"])
def test_the_control_a_reader_that_is_wrong_is_found(wrong: str) -> None:
    class Wrong:
        def __init__(self, names: tuple[str, ...], whole: tuple[bool, ...]) -> None:
            self.right = flat.Reader(names, whole).read

        def read(self, body: bytes) -> bytes | None:
            row = self.right(body.replace(b"+", b"") if wrong == "one thing more" else body)
            if row is None or wrong == "one thing more":
                return row
            cells = list(struct.unpack(f"{len(row) // 8}d", row))
            if wrong == "the last bit":
                cells[0] = math.nextafter(cells[0], math.inf)
            if wrong == "the sign of zero":
                cells = [cell or -0.0 for cell in cells]
            if wrong == "another order":
                cells.reverse()
            return struct.pack(f"{len(cells)}d", *cells)

    law = Law(Wrong, {"a": False, "b": False})
    with pytest.raises(AssertionError, match="was read"):
        law.holds(b'{"a": +0, "b": 2.5}' if wrong == "one thing more" else b'{"a": 0, "b": 2.5}')


@pytest.mark.parametrize(
    ("names", "whole", "error"),
    [
        ((), (), ValueError),
        (("a",), (), ValueError),
        (("a", "a"), (False, False), ValueError),
        *(((name,), (False,), ValueError) for name in ('"', "a\\", "\n", "\0", "\ud800")),
        (tuple(map(str, range(4097))), (False,) * 4097, ValueError),
        *(((name,), (False,), TypeError) for name in (1, [], b"a")),
        (["a"], (False,), TypeError),
        (("a",), [False], TypeError),
    ],
)
def test_names_that_cannot_be_read_are_refused(names: Any, whole: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        flat.Reader(names, whole)


def test_truths_that_raise_and_what_is_no_bytes() -> None:
    class Neither:
        def __bool__(self) -> bool:
            raise LookupError

    class Bytes(bytes):
        pass

    with pytest.raises(LookupError):
        flat.Reader(("a", "b"), (True, Neither()))
    for body in ('{"a": 1}', bytearray(b'{"a": 1}'), memoryview(b'{"a": 1}'), None, 1):
        assert NUMBER.read(body) is None  # msgspec decides, also whether it is refused
    assert NUMBER.read(Bytes(b'{"a": 1}')) == struct.pack("d", 1.0)
    with pytest.raises(TypeError):
        flat.Reader.__new__ = object.__new__  # it would make readers of nothing


def test_as_many_columns_as_there_may_be() -> None:
    law = Law(flat.Reader, {f"c{place}": False for place in range(4096)})
    value = {f"c{place}": place / 7 for place in range(4096)}
    assert law.holds(json.dumps(value).encode())
    assert law.holds(json.dumps(dict(list(value.items())[1000:] + list(value.items())[:1000])).encode())


def blocks(times: int, kept: list[Any], keep: bool) -> int:
    """How many blocks of memory `times` reads, refusals and readers leave."""
    good, bad, names = b'{"a": 0.12345678901234567}', b'{"a": 1x}', ("a",)
    read, made = NUMBER.read, flat.Reader
    before = sys.getallocatedblocks()
    for _ in range(times):
        row = read(good)
        if keep:
            kept.append(row)
        read(bad)
        made(names, (False,))
        with contextlib.suppress(ValueError):
            made(("b", '"'), (True, False))
    return sys.getallocatedblocks() - before


def test_nothing_is_left_of_what_was_read() -> None:
    kept: list[Any] = []
    blocks(10, kept, False)
    references = [sys.getrefcount(each) for each in (flat.Reader, None, "a")]
    assert blocks(100_000, kept, False) < 100
    assert (
        max(sys.getrefcount(each) - was for each, was in zip((flat.Reader, None, "a"), references, strict=True)) < 1000
    )
    assert blocks(1_000, kept, True) >= 1_000  # the control: what is kept is seen


@pytest.mark.parametrize("source", ["right", "reads behind its end"])
def test_sanitizers_find_nothing_in_it(source: str, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: apt-get install gcc")
    text = SOURCE.read_text()
    if source != "right":
        assert text.count("? end - self->most : at;") == 1
        text = text.replace("? end - self->most : at;", "? end : at;")
    (tmp_path / "_flat.c").write_text(text)
    seconds = "1" if source == "right" else "20"  # it ends at the first finding
    done = subprocess.run(
        [sys.executable, SCRIPT, seconds, "--source", tmp_path / "_flat.c"], capture_output=True, text=True, timeout=60
    )
    if source == "right":
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        assert int(done.stdout.split()[0].replace(",", "")) > 1000
    else:
        assert done.returncode != 0
        assert "ERROR: AddressSanitizer" in done.stderr, done.stdout + done.stderr[-3000:]
