"""A body with its media type: what a reply is before it has a status."""

from __future__ import annotations

import msgspec

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"
BINARY = b"application/octet-stream"


class Content(msgspec.Struct, frozen=True):
    """A body and the header lines that go with it."""

    media: bytes
    body: bytes
    fields: bytes = b""
