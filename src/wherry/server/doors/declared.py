"""The project's own request shape, `[reply] request`: where in a JSON object the rows are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wherry.contract.signature import kind_of
from wherry.contract.wire import JSON, FieldProblem
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.listed import listed, one_column, plain
from wherry.server.doors.native import Native

Path = tuple[str, ...]


class Declared:
    """Reads the declared shape, and every native one: an object that lacks the declared key is native."""

    name, media = "native", (JSON,)

    def __init__(self, native: Native, template: dict[str, Any]) -> None:
        self.native = native
        places = dict(find(template, ()))
        self.as_text = "json:rows" in places
        self.rows = places.get("json:rows") or places["rows"]
        self.store = places.get("store")
        self.template = template
        native.words |= set(names_in(template))
        # A column of that name wins: the object is a record.
        self.possible = self.rows[0] not in native.names

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        return self.decode(sent.body), None

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` asks about. Raises BodyUnreadable, FieldsRefused."""
        value = self.native.parse(body)
        if not self.possible or not isinstance(value, dict) or not holds(value, self.rows):
            return self.native.understand(value)
        self.check_keys(value, self.template)
        rows = at(value, self.rows)
        asked = self.rows_of(self.text(rows) if self.as_text else rows)
        return Asked(asked.rows, asked.single, asked.ignored, self.may_store(value))

    def rows_of(self, value: Any) -> Asked:
        name = ".".join(self.rows)
        if isinstance(value, dict):
            return self.native.understand(value)
        if isinstance(value, list) and plain(value) and not one_column(self.native):
            value = [value]  # one row, without the list around it
        return listed(self.native, value, name)

    def text(self, value: Any) -> Any:
        """The rows in a JSON text. Blanks and line ends in it mean nothing."""
        name = ".".join(self.rows)
        if not isinstance(value, str):
            raise FieldsRefused((FieldProblem(0, name, f"is {kind_of(value)}, not a JSON text", 'send "[[...]]"'),))
        try:
            return self.native.parse(value.encode())
        except BodyUnreadable as error:
            raise BodyUnreadable(f"{name} is not JSON: {error}", hint=error.hint) from error

    def may_store(self, value: dict[str, Any]) -> bool:
        if self.store is None or not holds(value, self.store):
            return True
        said = at(value, self.store)
        if not isinstance(said, bool):
            name = ".".join(self.store)
            raise FieldsRefused((FieldProblem(0, name, f"is {kind_of(said)}, not true or false"),))
        return said

    def check_keys(self, value: Any, template: Any) -> None:
        """Raises FieldsRefused for a key that the shape does not have, as for any other field."""
        if not isinstance(template, dict) or not isinstance(value, dict):
            return
        unknown = [key for key in value if key not in template]
        if unknown and not self.native.ignore_unknown:
            hint = f"the keys are {', '.join(template)}"
            raise FieldsRefused(
                tuple(FieldProblem(0, key[:200], "is not part of a request", hint) for key in unknown[:100])
            )
        for key, part in template.items():
            self.check_keys(value.get(key), part)


def find(template: Any, path: Path) -> list[tuple[str, Path]]:
    """Each placeholder of a request's template, and the keys that lead to it."""
    if isinstance(template, str) and template.startswith("$") and not template.startswith("$$"):
        return [(template[1:], path)]
    if isinstance(template, dict):
        return [found for key, part in template.items() for found in find(part, (*path, key))]
    return []


def names_in(template: Any) -> Iterator[str]:
    """The keys of a template, those of its parts among them."""
    for key, part in template.items() if isinstance(template, dict) else ():
        yield key
        yield from names_in(part)


def holds(value: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
