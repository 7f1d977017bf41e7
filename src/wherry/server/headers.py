"""What is asked of a request's header, whoever has read it: the port, or a server that an application runs in."""

from __future__ import annotations

from wherry.errors import FramingWrong, HeadersTooLarge, MediaWrong, RequestRefused, UrlTooLong
from wherry.server.limits import Limits

# Headers of which a second one could be read in two ways.
ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"expect"})


def again(headers: dict[bytes, bytes], name: bytes, value: bytes) -> bytes:
    """The value of a header of which one came before. Raises FramingWrong where two could be read in two ways."""
    if name in ONCE:
        raise FramingWrong(f"the header {name.decode('latin-1')} came twice")
    return headers[name] + b", " + value


def check_encoding(headers: dict[bytes, bytes]) -> None:
    """Raises MediaWrong for a compressed body."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise MediaWrong("a compressed body is not read", hint="send it without Content-Encoding")


def too_long(limits: Limits, url: bytes) -> RequestRefused:
    """What a header that is over a limit is refused with."""
    if len(url) > limits.url_bytes:
        return UrlTooLong(f"the URL is over {limits.url_bytes:,} bytes", hint="send the record as a JSON body")
    return HeadersTooLarge(f"the headers are over {limits.header_bytes:,} bytes")
