"""The root of the tree, and the errors that every room may raise."""

from __future__ import annotations


class WherryError(Exception):
    """Something a user can mend. `str()` is the sentence, `hint` the next thing to type."""

    hint = ""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        if hint:
            self.hint = hint


class UsageRefused(WherryError):
    """What was asked cannot be done as it was asked."""


class NotConfirmed(UsageRefused):
    """Nobody was there to say yes, or the answer was no."""

    def __init__(self, question: str, flag: str) -> None:
        self.question, self.flag = question, flag
        super().__init__(f"not done without a yes: {question}", hint=f"say it with {flag}")


class FileMissing(UsageRefused):
    """A file that was named is not there."""

    def __init__(self, path: str, what: str = "file", hint: str = "") -> None:
        self.path = path
        super().__init__(f"no such {what}: {path}", hint=hint)


class ExtraMissing(UsageRefused):
    """An optional library is not installed. extra: wherry's extra that has it; empty for a library of a model's own."""

    def __init__(self, library: str, extra: str, purpose: str, hint: str = "") -> None:
        self.library, self.extra = library, extra
        hint = hint or (f"pip install 'wherry[{extra}]'" if extra else f"pip install {library}")
        super().__init__(f"{purpose} needs {library}, which is not installed", hint=hint)


class LockHeld(WherryError):
    """Somebody else is at it."""


class DiskFull(WherryError):
    """The disk is full; nothing half-written is left behind."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no space left on the disk that holds {path}", hint=f"df -h {path}")


class ExpressionRefused(UsageRefused):
    """A short text with a grammar of its own that cannot be read. `place` counts its characters from 1."""

    def __init__(self, flag: str, text: str, place: int, reason: str, hint: str) -> None:
        self.flag, self.text, self.place, self.reason = flag, text, place, reason
        rest = text[place - 1 : place + 19]
        where = f"at character {place}, {rest!r}" if rest else f"after {text!r}" if text else "it is empty"
        super().__init__(f"{flag} {text!r}: {where}: {reason}", hint=hint)
