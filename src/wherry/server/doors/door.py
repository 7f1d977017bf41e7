"""What every way in is given, and what it gives: bytes to rows, outputs to bytes. No door knows of sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from wherry.contract.wire import Outputs, Row
from wherry.server.content import Content

# Values in one request that came as bytes: there a value takes a bit or a byte, and in memory some forty.
MOST_CELLS = 5_000_000


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What a request asks: rows ready for the model, whether it was one record, how many fields were left aside."""

    rows: list[Row]
    single: bool
    ignored: int = 0
    store: bool = True  # whether the client lets the prediction be kept


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What came: the body, and the headers by their names in lower case."""

    body: bytes
    headers: Mapping[bytes, bytes]


# Outputs and the id of their first row to the body; JSON, unless its content says otherwise.
Encode: TypeAlias = Callable[[Outputs, str], bytes | Content]


class Door(Protocol):
    """One way in. `read` raises a RequestRefused; without an `Encode` the reply has the service's own shape."""

    @property
    def name(self) -> str: ...

    @property
    def media(self) -> tuple[str, ...]:
        """The content types that are read; "" among them where a body may come without."""

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]: ...
