"""What a database's driver says, without the password."""

from __future__ import annotations

import re
from urllib.parse import quote

LONG = 8  # letters from which on a password is no part of a message by chance
MASK = "***"
UNSHOWN = "the database's driver repeats the password in what it says, which is not shown"


def hidden(text: str, password: str) -> str:
    """`text` without the password, as it is or as a url has it.

    A short one is hidden where it stands as a password or in quotes: anywhere else it is a word like others, and a
    mask in the place of every "p" would hide the message and tell the password.
    """
    for secret in dict.fromkeys((password, quote(password, safe=""))):
        if secret:
            text = without(text, re.escape(secret), short=len(secret) < LONG)
    return text


def without(text: str, secret: str, *, short: bool) -> str:
    """`text` without what the pattern `secret` finds."""
    word = rf"(?<!\w){secret}(?!\w)"
    if not short:
        return re.sub(word, MASK, text)
    telling = rf"(?<=:){secret}(?=@)|(?<=['\"`]){secret}(?=['\"`])|(?<=(?i:password=)){secret}(?!\w)"
    masked, found = re.subn(telling, MASK, text)
    return UNSHOWN if found and re.search(word, masked) else masked
