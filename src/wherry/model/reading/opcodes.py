"""The effect of each pickle opcode on stand-ins. An opcode that is not in the table makes a stream unreadable."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wherry.model.reading.standins import Group, Pairs, Unreadable, Value

if TYPE_CHECKING:
    from wherry.model.reading.interpreter import Interpreter


def integer_line(text: bytes) -> int | bool:
    if text in (b"00", b"01"):
        return text == b"01"
    return int(text)


def quoted(text: bytes) -> str:
    text = text.strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise Unreadable("a text without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("ascii")  # what pickle itself calls


def push(read: Callable[[Interpreter], Value]) -> Callable[[Interpreter], None]:
    def effect(i: Interpreter) -> None:
        value = read(i)  # first: reading may put another stack in place
        i.stack.append(value)

    return effect


def tail(count: int) -> Callable[[Interpreter], None]:
    def effect(i: Interpreter) -> None:
        if len(i.stack) < count:
            raise IndexError
        items = tuple(i.stack[-count:])
        i.stack[-count:] = [items]

    return effect


def pairs_of(flat: list[Value]) -> Pairs:
    if len(flat) % 2:
        raise Unreadable("a key without its value")
    return Pairs(list(zip(flat[::2], flat[1::2], strict=True)))


def mark(i: Interpreter) -> None:
    if len(i.marks) > 100_000:
        raise Unreadable("nested more than 100,000 deep")
    i.marks.append(i.stack)
    i.stack = []


def pop(i: Interpreter) -> None:
    if i.stack:
        i.stack.pop()
    else:
        i.pop_mark()


def pop_to_mark(i: Interpreter) -> None:
    i.pop_mark()


def inst(i: Interpreter) -> None:
    module, name = i.line().decode(), i.line().decode()
    maker = i.name(module, name)
    i.old_object(maker)
    args = tuple(i.pop_mark())
    i.stack.append(i.call(maker, args, new=False))


def obj(i: Interpreter) -> None:
    items = i.pop_mark()
    i.old_object(items[0])
    i.stack.append(i.call(items[0], tuple(items[1:]), new=False))


def global_(i: Interpreter) -> None:
    module, name = i.line().decode(), i.line().decode()
    i.stack.append(i.name(module, name))


def append(i: Interpreter) -> None:
    value = i.stack.pop()
    i.extend([value])


def set_item(i: Interpreter) -> None:
    value, key = i.stack.pop(), i.stack.pop()
    i.put_pairs([key, value])


def set_items(i: Interpreter) -> None:
    flat = i.pop_mark()
    i.put_pairs(flat)


def text(form: str) -> Callable[[Interpreter], None]:
    return push(lambda i: i.take(i.number(form)).decode("utf-8", "surrogatepass"))


def blob(form: str, kind: Callable[[bytes], Any] = bytes) -> Callable[[Interpreter], None]:
    return push(lambda i: kind(i.take(i.number(form))))


def constant(value: Any) -> Callable[[Interpreter], None]:
    return push(lambda i: value)


EFFECTS: dict[bytes, Callable[[Interpreter], None]] = {
    pickle.PROTO: lambda i: i.set_protocol(),
    pickle.FRAME: lambda i: i.frame(),
    pickle.MARK: mark,
    pickle.POP: pop,
    pickle.POP_MARK: pop_to_mark,
    pickle.DUP: push(lambda i: i.stack[-1]),
    pickle.NONE: constant(None),
    pickle.NEWTRUE: constant(True),
    pickle.NEWFALSE: constant(False),
    pickle.INT: push(lambda i: integer_line(i.line())),
    pickle.LONG: push(lambda i: int(i.line().removesuffix(b"L"))),
    pickle.FLOAT: push(lambda i: float(i.line())),
    pickle.BININT: push(lambda i: i.number("<i")),
    pickle.BININT1: push(lambda i: i.number("<B")),
    pickle.BININT2: push(lambda i: i.number("<H")),
    pickle.LONG1: push(lambda i: int.from_bytes(i.take(i.number("<B")), "little", signed=True)),
    pickle.LONG4: push(lambda i: int.from_bytes(i.take(i.number("<I")), "little", signed=True)),
    pickle.BINFLOAT: push(lambda i: struct.unpack(">d", i.take(8))[0]),
    pickle.STRING: push(lambda i: quoted(i.line())),
    pickle.BINSTRING: push(lambda i: i.take(i.number("<I")).decode("ascii")),
    pickle.SHORT_BINSTRING: push(lambda i: i.take(i.number("<B")).decode("ascii")),
    pickle.UNICODE: push(lambda i: i.line().decode("raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: text("<B"),
    pickle.BINUNICODE: text("<I"),
    pickle.BINUNICODE8: text("<Q"),
    pickle.SHORT_BINBYTES: blob("<B"),
    pickle.BINBYTES: blob("<I"),
    pickle.BINBYTES8: blob("<Q"),
    pickle.BYTEARRAY8: blob("<Q", bytearray),
    pickle.EMPTY_LIST: push(lambda i: []),
    pickle.EMPTY_TUPLE: constant(()),
    pickle.EMPTY_DICT: push(lambda i: Pairs()),
    pickle.EMPTY_SET: push(lambda i: Group()),
    pickle.LIST: push(lambda i: i.pop_mark()),
    pickle.TUPLE: push(lambda i: tuple(i.pop_mark())),
    pickle.DICT: push(lambda i: pairs_of(i.pop_mark())),
    pickle.FROZENSET: push(lambda i: Group(i.pop_mark())),
    pickle.TUPLE1: tail(1),
    pickle.TUPLE2: tail(2),
    pickle.TUPLE3: tail(3),
    pickle.APPEND: append,
    pickle.APPENDS: lambda i: i.extend(i.pop_mark()),
    pickle.SETITEM: set_item,
    pickle.SETITEMS: set_items,
    pickle.ADDITEMS: lambda i: i.add_items(),
    pickle.GLOBAL: global_,
    pickle.STACK_GLOBAL: lambda i: i.stack_global(),
    pickle.REDUCE: lambda i: i.reduce(),
    pickle.NEWOBJ: lambda i: i.new(named=False),
    pickle.NEWOBJ_EX: lambda i: i.new(named=True),
    pickle.BUILD: lambda i: i.build(),
    pickle.INST: inst,
    pickle.OBJ: obj,
    pickle.PUT: lambda i: i.remember(int(i.line())),
    pickle.BINPUT: lambda i: i.remember(i.number("<B")),
    pickle.LONG_BINPUT: lambda i: i.remember(i.number("<I")),
    pickle.MEMOIZE: lambda i: i.remember(len(i.memo)),
    pickle.GET: push(lambda i: i.memo[int(i.line())]),
    pickle.BINGET: push(lambda i: i.memo[i.number("<B")]),
    pickle.LONG_BINGET: push(lambda i: i.memo[i.number("<I")]),
}
# Not there, and so unreadable: persistent ids, the extension registry, out-of-band buffers.
