"""What one listening port puts up with, in bytes, counts and seconds."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults; a request over one of them is refused by name, and its connection closed."""

    header_bytes: int = 16 * 1024
    header_count: int = 100
    url_bytes: int = 8 * 1024
    body_bytes: int = 10 * 1024 * 1024
    header_seconds: float = 5.0  # from accept, or from the first byte of a later request, to the complete header
    body_grace: float = 5.0  # after it a body must have come at `body_rate` bytes a second on average
    body_rate: int = 1024
    request_seconds: float = 30.0  # from the complete header to the reply; then 504
    idle_seconds: float = 75.0  # between requests: longer than the 60 s of the usual load balancers
    stall_seconds: float = 30.0  # a client that does not take its reply
    linger_seconds: float = 2.0  # what is still sent after a refusal is read and forgotten, so that the reply arrives
    connections: int = 1000
    owed: int = 64  # replies one connection may wait for before nothing more is read from it
