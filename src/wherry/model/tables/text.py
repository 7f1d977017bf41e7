"""Bytes as text, and exactly which byte keeps them from it."""

from __future__ import annotations

import codecs

from wherry.errors import DataUnreadable, EncodingWrong

# Tried in this order for a suggestion. latin-1 reads anything, so it is only offered after cp1252.
CANDIDATES = ("utf-8", "utf-16", "cp1252", "latin-1", "unicode_escape")
MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(content: bytes, source: str, encoding: str) -> str:
    """`content` as text. A byte order mark says its encoding itself. Raises EncodingWrong, DataUnreadable."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        hint = "such as --encoding cp1252, latin-1 or utf-16"
        raise DataUnreadable(source, f"{encoding!r} is not an encoding that Python knows", hint) from error
    if name == "utf-8":
        name = next((marked for mark, marked in MARKS if content.startswith(mark)), name)
    try:
        text = content.decode(name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fits = candidates(content, name)
        raise EncodingWrong(source, encoding, error.start, line, content[error.start], fits) from error
    except (UnicodeError, ValueError) as error:
        raise DataUnreadable(
            source, f"is not {encoding}: {error}", "name the file's encoding with --encoding"
        ) from error
    zero = text.find("\0")
    if zero >= 0:
        offset = content.find(b"\0")
        line = text.count("\n", 0, zero) + 1
        fits = tuple(fit for fit in ("utf-16", "utf-16-le") if reads(content, fit))
        hint = f"--encoding {fits[0]}" if fits else "give a CSV, Parquet or JSON-lines file"
        raise DataUnreadable(source, f"byte {offset} (line {line}) is 0x00: this is no {encoding} text", hint)
    return text


def candidates(content: bytes, tried: str) -> tuple[str, ...]:
    """The encodings, other than the one that failed, in which all of `content` can be read."""
    return tuple(name for name in CANDIDATES if name != tried and reads(content, name))


def reads(content: bytes, name: str) -> bool:
    if name.startswith("utf-16") and content.count(b"\0") * 4 < len(content):
        return False  # half of what western texts are in UTF-16; any even number of bytes decodes
    if name == "unicode_escape" and b"\\" in content:
        return False  # it would read what stands behind each backslash as something else
    try:
        text = content.decode(name)
    except (UnicodeDecodeError, UnicodeError):
        return False
    return "\0" not in text
