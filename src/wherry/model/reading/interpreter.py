"""A pickle stream read to its end without running any of it: every opcode has its effect on stand-ins only.

It follows joblib's unpickler (the standard library's own in Python, with arrays laid between the opcodes), and refuses
whatever an honest writer does not write, so that what it reads and what a loader would do cannot part ways.
"""

from __future__ import annotations

import pickle
import struct

from wherry.model.reading.arrays import Unsound, dtype_of, scalar, shape_of
from wherry.model.reading.known import NEVER_CALLED, is_known, mapped
from wherry.model.reading.opcodes import EFFECTS
from wherry.model.reading.standins import Array, CutOff, Global, Group, Made, Pairs, Unreadable, Value

MAX_OPCODES = 30_000_000
MAX_MEMO = 20_000_000
MAX_NESTED = 4

ARRAY_WRAPPER = Global("joblib.numpy_pickle", "NumpyArrayWrapper")
OLD_WRAPPER = Global("joblib.numpy_pickle_compat", "NDArrayWrapper")
RECONSTRUCTOR = Global("copyreg", "_reconstructor")
ENCODE = Global("_codecs", "encode")
DTYPE = Global("numpy", "dtype")
OBJECT = Global("builtins", "object")


class Interpreter:
    """One pickle in `content` from `start`. After `run`, `place` is the first byte behind it."""

    def __init__(self, content: bytes, start: int = 0, *, arrays: bool = True, nested: int = 0, spent: int = 0) -> None:
        self.content = content
        self.place = start
        self.arrays = arrays  # whether joblib's arrays may lie between the opcodes
        self.nested = nested
        self.opcodes = spent
        self.frame_end: int | None = None
        self.protocol = 0
        self.stack: list[Value] = []
        self.marks: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.globals: dict[Global, None] = {}
        self.refusals: dict[str, None] = {}
        self.dtypes: list[Made] = []
        self.wrapped = False  # joblib's array wrapper was seen
        self.result: Value = None

    def run(self) -> Value:
        """The value of the pickle. Raises Unreadable."""
        if self.nested > MAX_NESTED:
            raise Unreadable("pickles are nested too deeply")
        try:
            while self.step():
                pass
        except (IndexError, KeyError) as error:
            raise Unreadable(f"byte {self.place}: the stream takes what it never gave") from error
        except (struct.error, ValueError, OverflowError) as error:
            raise Unreadable(f"byte {self.place}: {error}") from error
        self.hold_dtypes()
        return self.result

    def step(self) -> bool:
        self.opcodes += 1
        if self.opcodes > MAX_OPCODES:
            raise Unreadable(f"more than {MAX_OPCODES:,} opcodes")
        code = self.take(1)
        if code == b".":
            self.result = self.stack.pop()
            if self.frame_end is not None and self.frame_end != self.place:
                raise Unreadable(f"byte {self.place}: a frame goes on after the end")
            return False
        effect = EFFECTS.get(code)
        if effect is None:
            raise Unreadable(f"byte {self.place - 1}: {code!r} is no opcode that a model's file needs")
        effect(self)
        return True

    # What is read

    def take(self, count: int) -> bytes:
        end = self.place + count
        if end > len(self.content):
            raise CutOff("the file ends in the middle of the stream")
        if self.frame_end is not None:
            if self.place == self.frame_end:
                self.frame_end = None
            elif end > self.frame_end:
                raise Unreadable(f"byte {self.place}: a value crosses the end of its frame")
        taken = self.content[self.place : end]
        self.place = end
        return taken

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.place)
        if end < 0:
            raise CutOff("the file ends in the middle of a line")
        return self.take(end + 1 - self.place)[:-1]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    # What is refused, but followed

    def refuse(self, reason: str) -> None:
        if len(self.refusals) < 100:
            self.refusals[reason] = None

    def name(self, module: str, name: str) -> Global:
        found = Global(*(mapped(module, name) if self.protocol < 3 else (module, name)))
        if found not in self.globals and len(self.globals) >= 100_000:
            raise Unreadable("more than 100,000 names")
        self.globals[found] = None
        return found

    def call(self, maker: Value, args: Value, *, new: bool) -> Made:
        """What `maker` would make of `args`: as a function, or (`new`) as a class whose __init__ is left out."""
        if not isinstance(maker, Global):
            self.refuse("calls a function that it puts together while it is loaded")
            return Made(Global("?", "?"), args)
        if not isinstance(args, tuple):
            self.refuse("calls with arguments that are no tuple")
            return Made(maker, ())
        if maker == RECONSTRUCTOR:
            found = reconstructed(args)
            if found is None:
                self.refuse(f"calls {maker} in an unusual way")
            else:
                maker, args, new = *found, True
        if (maker.module, maker.name) in NEVER_CALLED:
            self.refuse(f"calls {maker}")
        if maker == ENCODE and not (len(args) == 2 and isinstance(args[0], str) and is_latin1(args[1])):
            self.refuse(f"calls {maker} with another codec than latin-1")
        if maker == ARRAY_WRAPPER and (args or not new):
            self.refuse(f"calls {maker} in an unusual way")
        made = Made(maker, args)
        if maker == DTYPE:
            self.dtypes.append(made)
        return made

    def hold_dtypes(self) -> None:
        """Refuse every dtype that lies, once nothing can change it any more."""
        for made in self.dtypes:
            try:
                dtype_of(made)
            except Unsound as error:
                self.refuse(str(error))

    # Opcodes with more than a line to say

    def pop_mark(self) -> list[Value]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def frame(self) -> None:
        length = self.number("<Q")
        if self.frame_end is not None and self.place != self.frame_end:
            raise Unreadable(f"byte {self.place}: a frame within a frame")
        if self.place + length > len(self.content):
            raise CutOff("the file ends in the middle of a frame")
        self.frame_end = self.place + length if length else None

    def set_protocol(self) -> None:
        self.protocol = self.take(1)[0]
        if self.protocol > pickle.HIGHEST_PROTOCOL:
            raise Unreadable(f"pickle protocol {self.protocol} is unknown")

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (type(name) is str and type(module) is str):
            raise Unreadable(f"byte {self.place}: a name that is no text")
        self.stack.append(self.name(module, name))

    def remember(self, index: int) -> None:
        if not 0 <= index < MAX_MEMO or len(self.memo) >= MAX_MEMO:
            raise Unreadable(f"byte {self.place}: a memo beyond {MAX_MEMO:,}")
        self.memo[index] = self.stack[-1]

    def extend(self, items: list[Value]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif isinstance(target, Made):
            target.items.extend(items)
        else:
            raise Unreadable(f"byte {self.place}: items for what is no list")

    def put_pairs(self, flat: list[Value]) -> None:
        if len(flat) % 2:
            raise Unreadable(f"byte {self.place}: a key without its value")
        target = self.stack[-1]
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        if isinstance(target, (Pairs, Made)):
            target.entries.extend(pairs)
        else:
            raise Unreadable(f"byte {self.place}: pairs for what is no dict")

    def add_items(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if not isinstance(target, (Group, Made)):
            raise Unreadable(f"byte {self.place}: items for what is no set")
        target.items.extend(items)

    def reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args, new=False)

    def new(self, *, named: bool) -> None:
        names = self.stack.pop() if named else Pairs()
        args = self.stack.pop()
        made = self.call(self.stack.pop(), args, new=True)
        if not isinstance(names, Pairs):
            self.refuse("calls with named arguments that are no dict")
        else:
            made.entries.extend(names.entries)
            if names.entries and made.maker == ARRAY_WRAPPER:
                self.refuse(f"calls {made.maker} in an unusual way")
        self.stack.append(made)

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Made):
            raise Unreadable(f"byte {self.place}: a state for what was not made")
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, Pairs):
                for key, _ in part.entries:
                    if not isinstance(key, str) or key.startswith("__"):
                        self.refuse(f"sets {key!r:.60}" if isinstance(key, str) else "sets an attribute without a name")
        target.states.append(state)
        if target.maker == ARRAY_WRAPPER:
            self.stack[-1] = self.array(target)
        elif target.maker == OLD_WRAPPER:
            raise Unreadable("joblib wrote this file before 0.10, with its arrays in other files")

    def array(self, wrapper: Made) -> Array:
        """joblib's array: its bytes lie in the file where the opcodes stop for it."""
        if not self.arrays:
            raise Unreadable(f"byte {self.place}: an array where none can be")
        if self.frame_end is not None and self.frame_end != self.place:
            raise Unreadable(f"byte {self.place}: an array within a frame")
        self.wrapped = True
        self.frame_end = None
        if len(wrapper.states) != 1 or not isinstance(wrapper.states[0], Pairs):
            raise Unreadable(f"byte {self.place}: an array described in an unusual way")
        about = wrapper.attributes()
        if about.get("subclass") not in (Global("numpy", "ndarray"), Global("numpy", "matrix")):
            self.refuse("makes an array of a class of its own")
        try:
            dtype, shape = dtype_of(about["dtype"]), shape_of(about["shape"])
        except Unsound as error:
            raise Unreadable(f"byte {self.place}: {error}") from error
        if dtype.has_object:
            inner = Interpreter(self.content, self.place, arrays=False, nested=self.nested + 1, spent=self.opcodes)
            inner.globals, inner.refusals = self.globals, self.refusals
            value = inner.run()
            self.place, self.opcodes = inner.place, inner.opcodes
            return Array(dtype, shape, inner=value)
        if scalar(about.get("numpy_array_alignment_bytes")) is not None:
            padding = self.take(1)[0]
            self.take(padding)
        size = dtype.itemsize
        for length in shape:
            size *= length
        start = self.place
        self.take_unkept(size)
        return Array(dtype, shape, raw=memoryview(self.content)[start : self.place])

    def take_unkept(self, count: int) -> None:
        if self.place + count > len(self.content):
            raise CutOff("the file ends in the middle of an array")
        self.place += count

    def old_object(self, maker: Value) -> None:
        """INST and OBJ: no pickler since Python 2 writes them."""
        self.refuse(f"calls {maker} in a way that no pickler since Python 2 writes")


def reconstructed(args: tuple[Value, ...]) -> tuple[Global, tuple[Value, ...]] | None:
    """The class and its arguments that protocols 0 and 1 mean by calling copyreg._reconstructor; None for a trick."""
    if len(args) != 3 or not isinstance(args[0], Global):
        return None
    if args[1] == OBJECT and args[2] is None:
        return args[0], ()
    if args[0] != ARRAY_WRAPPER and args[1] == Global("builtins", "dict") and isinstance(args[2], Pairs):
        return args[0], (args[2],)
    return None


def is_latin1(codec: Value) -> bool:
    return isinstance(codec, str) and codec in ("latin1", "latin-1")


def unknown_names(found: dict[Global, None]) -> tuple[str, ...]:
    """The names that the fixed list does not hold, in the order of the stream."""
    return tuple(str(name) for name in found if not is_known(name.module, name.name))
