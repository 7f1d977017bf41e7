"""The door for pictures: a form that was uploaded (multipart/form-data), or a picture that is the whole body. Pure.

No picture is decoded here, so what it is is told by its bytes later, whatever a client calls it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.contract.pictures import FORMATS
from wherry.contract.wire import FieldProblem
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.native import STORE, Native

FORM = "multipart/form-data"
MOST_PARTS = 64  # of one form
HEAD_BYTES = 4096  # of one part
AT_ONCE = 1 << 20  # bytes that are looked through in one call
BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
NAME = re.compile(rb'content-disposition: *form-data;(?:.*;)? *name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
ENCODED = re.compile(rb"^content-transfer-encoding: *(?!binary|8bit|7bit)", re.IGNORECASE | re.MULTILINE)


class Part(msgspec.Struct, frozen=True):
    """One field of a form."""

    name: str
    data: bytes


class Image:
    """Reads pictures for the one column that takes them: each a row, in the order of the form."""

    name = "image"
    media = (FORM, *(f"image/{each}" for each in FORMATS), "application/octet-stream")

    def __init__(self, native: Native, column: str) -> None:
        self.native, self.column = native, column

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        """Raises BodyUnreadable, FieldsRefused."""
        media = sent.headers.get(b"content-type", b"")
        if media.partition(b";")[0].strip().lower() != FORM.encode():
            return Asked([self.row(sent.body)], True), None
        rows: list[Any] = []
        store, unknown = True, []
        for part in parts(sent.body, media):
            if part.name == self.column:
                rows.append(self.row(part.data))
            elif part.name == STORE and self.native.may_skip:
                store = may_store(part.data)
            else:
                unknown.append(part.name)
        if unknown and not self.native.ignore_unknown:
            raise FieldsRefused(tuple(FieldProblem(0, name[:200], *self.stranger(name)) for name in unknown))
        if not rows:
            raise FieldsRefused((FieldProblem(0, self.column, "is missing", f"curl -F {self.column}=@FILE"),))
        return Asked(rows, len(rows) == 1, len(unknown), store), None

    def row(self, data: bytes) -> Any:
        """A row of one cell. Only here is a cell bytes: in base64 it would have to be decoded once more."""
        return (data,)

    def stranger(self, name: str) -> tuple[str, str]:
        near = difflib.get_close_matches(name[:200].lower(), [self.column], n=1, cutoff=0.6)
        return "is not a field of this model", f"did you mean {near[0]}?" if near else f"the field is {self.column}"


def may_store(data: bytes) -> bool:
    if data not in (b"true", b"false"):
        raise FieldsRefused((FieldProblem(0, STORE, "is neither true nor false", f"curl -F {STORE}=false"),))
    return data == b"true"


def parts(body: bytes, media: bytes) -> Iterator[Part]:
    """The fields of a form, in order. Raises BodyUnreadable."""
    found = BOUNDARY.search(media)
    if found is None:
        raise BodyUnreadable("the form's Content-Type names no boundary", hint="curl -F writes it; set no header")
    mark = b"--" + (found[1] or found[2])
    place = 0 if body.startswith(mark) else find(body, b"\r\n" + mark, 0) + 2
    if place == 1:
        raise BodyUnreadable("the form's boundary is not in the body", hint="curl -F writes it; set no header")
    for _ in range(MOST_PARTS + 1):
        place += len(mark)
        if body[place : place + 2] == b"--":
            return
        begin = body.find(b"\r\n\r\n", place, place + HEAD_BYTES)
        end = find(body, b"\r\n" + mark, begin + 4)
        if begin < 0 or end < 0:
            raise BodyUnreadable("the form ends too early, or a field in it has no header", place, "send it again")
        yield part_of(body[place:begin], body[begin + 4 : end])
        place = end + 2
    raise BodyUnreadable(f"the form has more than {MOST_PARTS} fields", hint="send fewer pictures a request")


def find(body: bytes, mark: bytes, start: int) -> int:
    """body.find, a megabyte at a time: nobody else is answered within one call, and ten take 20 milliseconds."""
    for place in range(start, len(body), AT_ONCE):
        found = body.find(mark, place, place + AT_ONCE + len(mark) - 1)
        if found >= 0:
            return found
    return -1


def part_of(head: bytes, data: bytes) -> Part:
    named = NAME.search(head)
    if named is None:
        raise BodyUnreadable("a field of the form has no name", hint="curl -F NAME=@FILE")
    if ENCODED.search(head):
        raise BodyUnreadable("a field of the form is encoded", hint="send the file's bytes as they are")
    name = named[1] if named[1] is not None else named[2]
    return Part(re.sub(rb"\\(.)", rb"\1", name).decode("utf-8", "replace"), data)
