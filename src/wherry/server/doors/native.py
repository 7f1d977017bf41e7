"""The native door: a record, a list of records, columns with rows, or a list of lists. Bytes to rows; pure."""

from __future__ import annotations

import gc
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from math import isfinite
from struct import Struct
from typing import Annotated, Any, Literal, NewType

import msgspec

from wherry.contract.signature import Column, Nearest, Signature, kind_of
from wherry.contract.wire import JSON, FieldProblem, Row
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors.door import Asked, Encode, Sent

try:
    from wherry.server.doors import _flat
except ImportError:  # not compiled here, or not for this platform: msgspec reads everything
    _flat = None  # type: ignore[assignment]  # a module, or none

STORE = "store"
ENVELOPE = frozenset({"columns", "rows", "data", "index"})
PLAIN_ENVELOPES = ({"columns", "rows"}, {"columns", "data"}, {"columns", "index", "data"})
LITERAL = re.compile(rb"-?(?:NaN|Infinity|nan|inf)")
PLACE = re.compile(r" \(byte (\d+)\)$")
# How many names a body may have, in all, before each has to be one that there is: every new one takes 500 nanoseconds
# and 100 bytes, and nobody else is answered meanwhile.
MOST_NAMES = 100_000
BLANKS = b" \t\r\n"
# What the objects of a request hold beside columns, by whatever door it came.
WORDS = (
    "store", "columns", "rows", "data", "index", "index_names", "column_names", "b64", "inputs", "instances", "id",
    "signature_name", "dataframe_split", "dataframe_records", "params", "outputs", "parameters", "name", "shape",
    "datatype", "binary_data", "binary_data_size", "binary_data_output", "content_type", "headers", "classification",
    "meta", "puid", "tags", "metrics", "routing", "requestPath", "names", "ndarray", "tensor", "values",
)  # fmt: skip  # a list of words
DEEPEST = 8  # lists and objects within each other, in a body of more names
STRANGE = re.compile(r"Invalid enum value (.*) - at `key` in `\$(?:\[\.\.\.\])*(?:\[(\d+)\])?", re.DOTALL)
INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
PLAIN: dict[str, Any] = {"number": float, "integer": INT64, "boolean": bool, "string": str, "image": str}


class Native:
    """Reads the native request forms for one signature."""

    name, media = "native", (JSON,)

    def __init__(self, signature: Signature, *, ignore_unknown: bool = False, may_skip: bool = False) -> None:
        self.signature = signature
        self.ignore_unknown = ignore_unknown
        self.names = frozenset(signature.names)
        self.may_skip = may_skip and STORE not in self.names  # keys that are columns win
        self.fast = compiled(signature, ignore_unknown)
        self.flat = flat(signature)
        self.words = {*signature.names, *signature.unused, signature.target, *WORDS}

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` asks about. Raises BodyUnreadable, FieldsRefused."""
        if self.fast is not None:
            try:
                return self.fast.read(body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # not flawless: the slow way reads every form, and names every problem
        return self.understand(self.parse(body))

    def parse(self, body: bytes) -> Any:
        """The JSON value of `body`. Raises BodyUnreadable; FieldsRefused for one of very many names, some unknown."""
        if self.ignore_unknown or body.count(b":") <= MOST_NAMES:
            return parse(body)
        if body.translate(None, BLANKS).count(b'":') <= MOST_NAMES:  # that many colons, most of them in texts
            return parse(body)
        try:
            return parse(body, self.known)
        except BodyUnreadable as error:
            strange = STRANGE.match(str(error.__cause__))
            if strange is None:
                raise
            name = literal_eval(strange[1])[:200]
            near = Nearest().of(name, self.signature.names)
            hint = f"did you mean {near}?" if near else "leave it out; no more problems of so large a request are named"
            problem = FieldProblem(int(strange[2] or 0), name, "is not a name that this service reads", hint)
            raise FieldsRefused((problem,)) from error

    @cached_property
    def known(self) -> Callable[[bytes], Any]:
        """A decoder of JSON whose objects have no names but those that a request can have: it makes no new ones."""
        named: Any = NewType  # its hash is at hand: that of a thousand words, asked again and again, takes seconds
        word = named("word", Literal[tuple(self.words)])
        held: Any = None | bool | int | float | str
        for _ in range(DEEPEST):
            held = None | bool | int | float | str | list[held] | dict[word, held]  # type: ignore[valid-type]  # made just now
        return msgspec.json.Decoder(held).decode

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        return self.decode(sent.body), None

    def understand(self, value: Any) -> Asked:
        """The rows of a decoded body."""
        if self.may_skip and isinstance(value, dict) and STORE in value:
            return self.beside_store(value)
        single, records = False, value
        if isinstance(value, dict):
            if "columns" in value and not self.names & ENVELOPE & value.keys():
                return self.split(value)
            single, records = True, [value]
        elif isinstance(value, list):
            if value and not isinstance(value[0], (dict, list)):
                reason = f"a row is an object or a list, not {kind_of(value[0])}"
                raise FieldsRefused((FieldProblem(0, "", reason, "send one row as [[...]]"),))
        else:
            reason = f"a request is an object or a list of rows, not {kind_of(value)}"
            raise FieldsRefused((FieldProblem(0, "", reason, "send one object with a field for each column"),))
        return check(self.signature, records, single, self.ignore_unknown)

    def beside_store(self, value: dict[str, Any]) -> Asked:
        """The rows of a body that says whether they may be kept."""
        said = value[STORE]
        if not isinstance(said, bool):
            raise FieldsRefused((FieldProblem(0, STORE, f"is true or false, not {kind_of(said)}", '"store": false'),))
        asked = self.understand({name: cell for name, cell in value.items() if name != STORE})
        return msgspec.structs.replace(asked, store=said)

    def split(self, value: dict[str, Any]) -> Asked:
        """The rows of columns and rows, as JSON held them."""
        rows = self.flawless_rows(value)
        return Asked(rows, False) if rows is not None else self.held(value)

    def held(self, value: dict[str, Any]) -> Asked:
        return check(self.signature, split_records(value), False, self.ignore_unknown)

    def table(self, columns: list[str], rows: list[list[Any]]) -> Asked:
        """Rows whose cells stand in the order of `columns`, whatever they came as: NaN is no number here either."""
        value = {"columns": columns, "rows": rows}
        flawless = self.flawless_rows(value)
        if flawless is not None and all(isfinite(c) for row in flawless for c in row if type(c) is float):
            return Asked(flawless, False)
        return self.held(value)

    def flawless_rows(self, value: dict[str, Any]) -> list[Row] | None:
        """The rows of columns and rows that hold every column once and nothing else; None: the slow way says why."""
        columns, rows = value["columns"], value.get("rows", value.get("data"))
        if self.fast is None or value.keys() not in PLAIN_ENVELOPES:
            return None
        if not isinstance(rows, list) or not isinstance(columns, list):
            return None
        if sorted(map(str, columns)) != sorted(self.names):
            return None
        places = [columns.index(name) for name in self.signature.names]
        try:
            if any(type(row) is not list or len(row) != len(columns) for row in rows):
                return None
            moved = rows if places == sorted(places) else [[row[place] for place in places] for row in rows]
            return self.fast.convert(moved)
        except (msgspec.MsgspecError, TypeError, LookupError):
            return None


def check(signature: Signature, records: list[Any], single: bool, ignore_unknown: bool) -> Asked:
    """Records held against the signature. Raises FieldsRefused with every problem."""
    checked = signature.check(records, ignore_unknown=ignore_unknown)
    if checked.problems:
        raise FieldsRefused(checked.problems, records[checked.problems[0].row])
    return Asked(checked.rows, single, checked.ignored)


def parse(body: bytes, decode: Callable[[bytes], Any] = msgspec.json.decode) -> Any:
    """The JSON value of `body`. Raises BodyUnreadable with the place, and what to do."""
    if not body.strip():
        raise BodyUnreadable("the body is empty", hint="send a record as JSON")
    try:
        with uncollected():
            return decode(body)
    except UnicodeDecodeError as error:
        raise BodyUnreadable("the body is not UTF-8", error.start, "JSON is always UTF-8") from error
    except RecursionError as error:
        raise BodyUnreadable("the body is nested too deeply") from error
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected"):
            raise BodyUnreadable("the body is nested too deeply") from error
        # A number that no float and no 64-bit integer holds.
        raise BodyUnreadable("a number in the body is out of range", hint="send a smaller number") from error
    except msgspec.DecodeError as error:
        raise unreadable(body, str(error)) from error


@contextmanager
def uncollected() -> Iterator[None]:
    """All that is made here is needed: looking for garbage in millions of lists takes longer than making them."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def unreadable(body: bytes, reason: str) -> BodyUnreadable:
    """Say where the JSON breaks, and recognise what people send."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return BodyUnreadable("the body begins with a byte order mark", 0, "send UTF-8 without one")
    found = PLACE.search(reason)
    place = int(found[1]) if found else None
    if place is not None and (literal := LITERAL.match(body, max(place - 1, 0)) or LITERAL.match(body, place)):
        return BodyUnreadable(f"JSON has no {literal[0].decode()}", place, "send null for a missing value")
    if place is not None and body[place : place + 1] == b"'":
        return BodyUnreadable("the body is not JSON", place, "JSON quotes with double quotes")
    if place is None:
        return BodyUnreadable("the body is not JSON: it ends too early", len(body))
    return BodyUnreadable("the body is not JSON", place)


def split_records(value: dict[str, Any]) -> list[Any]:
    """The records of {"columns": [...], "rows": [...]}, as pandas writes it with orient="split"."""
    columns = value["columns"]
    problems = [
        FieldProblem(0, key, "is not part of a request with columns", "columns, rows (or data), index")
        for key in value
        if key not in ENVELOPE
    ]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        problems.append(FieldProblem(0, "columns", "is not a list of names", 'send "columns": ["a", "b"]'))
    elif len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        problems.append(FieldProblem(0, twice, "is named twice in columns", "name each column once"))
    key = "rows" if "rows" in value else "data"
    rows = value.get(key)
    if not isinstance(rows, list):
        problems.append(FieldProblem(0, key, "is not a list of rows", 'send "rows": [[1, 2], [3, 4]]'))
    elif "rows" in value and "data" in value:
        problems.append(FieldProblem(0, "data", "came beside rows", "send one of them"))
    if problems:
        raise FieldsRefused(tuple(problems))
    records = []
    for index, row in enumerate(rows or ()):
        if not isinstance(row, list):
            problems.append(FieldProblem(index, "", f"a row is a list here, not {kind_of(row)}"))
        elif len(row) != len(columns):
            reason = f"has {len(row)} values for {len(columns)} columns"
            problems.append(FieldProblem(index, "", reason, "send one value a column"))
        else:
            records.append(dict(zip(columns, row, strict=True)))
        if len(problems) >= 100:
            break
    if problems:
        raise FieldsRefused(tuple(problems))
    return records


class Compiled(msgspec.Struct, frozen=True):
    """Decoders from the bytes of a flawless body to its rows."""

    one: Callable[[bytes], Any]  # a struct of its cells
    records: Callable[[bytes], list[Row]]
    lists: Callable[[bytes], list[Row]]
    convert: Callable[[list[Any]], list[Row]]  # from lists that are decoded

    def read(self, body: bytes) -> Asked:
        """Raises what msgspec raises when the body is not flawless, or in another form."""
        if not body.startswith(b"["):
            return Asked([msgspec.structs.astuple(self.one(body))], True)
        if body[1:64].lstrip().startswith(b"["):
            return Asked(self.lists(body), False)
        return Asked(self.records(body), False)


def compiled(signature: Signature, ignore_unknown: bool) -> Compiled | None:
    """Decoders for one signature; None where types cannot say what is flawless."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    kinds: list[Any] = []
    for index, column in enumerate(signature.columns):
        kind = field_type(column)
        if kind is None:
            return None
        kinds.append(kind)
        name = f"c{index}"
        fields.append((name, kind) if column.default is msgspec.UNSET else (name, kind, column.default))
    record = msgspec.defstruct(
        "Record",
        fields,
        rename={f"c{index}": column.name for index, column in enumerate(signature.columns)},
        # Fields left aside are counted: the slow way does that.
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    one, many = msgspec.json.Decoder(record).decode, msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]  # made just now
    rows: Any = list[tuple[tuple(kinds)]]  # type: ignore[misc]  # the same
    astuple = msgspec.structs.astuple
    return Compiled(
        one,
        lambda body: [astuple(each) for each in many(body)],
        msgspec.json.Decoder(rows).decode,
        lambda lists: msgspec.convert(lists, rows),
    )


class Flat(msgspec.Struct, frozen=True):
    """Reads a record of numbers straight into float64, and makes cells of them again."""

    read: Callable[[bytes], bytes | None]  # None: not flawless, or in another form
    unpack: Callable[[bytes], Iterable[Row]]


def flat(signature: Signature) -> Flat | None:
    """What reads records of one signature; None where it was not compiled, or their cells are not numbers alone."""
    whole = tuple(column.type == "integer" for column in signature.columns)
    numbers = all(
        column.type in ("number", "integer") and not (column.nullable or column.categories)
        for column in signature.columns
    )
    if _flat is None or not numbers:
        return None
    try:
        read = _flat.Reader(signature.names, whole).read
    except ValueError:  # no columns, very many, or a name that JSON can write in more than one way
        return None
    unpack = Struct(f"{len(whole)}d").iter_unpack
    if not any(whole):
        return Flat(read, unpack)
    kinds = tuple(int if each else float for each in whole)
    return Flat(
        read, lambda block: [tuple([k(cell) for k, cell in zip(kinds, row, strict=True)]) for row in unpack(block)]
    )


def field_type(column: Column) -> Any:
    """The msgspec type that takes exactly what `signature.check` takes, as it stands; None where there is none."""
    kind = PLAIN[column.type]
    if column.categories and not column.unknown_ok:
        exact = str if column.type == "string" else int
        if column.type not in ("string", "integer") or any(type(value) is not exact for value in column.categories):
            return None
        kind = Literal[column.categories]
    return kind | None if column.nullable else kind
