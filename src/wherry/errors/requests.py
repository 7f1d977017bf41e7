"""Requests to the service, by cause; no HTTP status here: server.problems holds that table."""

from __future__ import annotations

from typing import Any, Protocol

from wherry.errors.root import WherryError


class ModelFailed(WherryError):
    """The model raised, or answered what cannot be sent; `rows` are those concerned, as far as that can be told.

    outputs: the answers of all rows (contract.wire.Outputs), whose prediction is None at each of `rows`; None when no
    row could be answered. So the other rows of a batch lose nothing. step: which of a chain's it was; empty elsewhere.
    reasons: what is the matter with each of `rows`, where that differs; else `reason` is, with all of them.
    """

    def __init__(
        self,
        reason: str,
        rows: tuple[int, ...] = (),
        outputs: Any = None,
        step: str = "",
        reasons: tuple[str, ...] = (),
    ) -> None:
        self.reason, self.rows, self.outputs, self.step = reason, rows, outputs, step
        self.reasons = reasons or (reason,) * len(rows)
        super().__init__(f"the model {reason}", hint="the service's log says more")


class RequestRefused(WherryError):
    """A request to the service cannot be answered. `code` is stable; clients may rely on it."""

    code = "refused"
    title = "Request refused"


class BodyUnreadable(RequestRefused):
    """The body is not what its content type says; `place` is the byte, from 0, where that shows."""

    code, title = "body-unreadable", "Body unreadable"

    def __init__(self, reason: str, place: int | None = None, hint: str = "send one JSON value") -> None:
        self.place = place
        super().__init__(reason + ("" if place is None else f" (byte {place})"), hint=hint)


class FramingWrong(RequestRefused):
    """The bytes are not one clear HTTP/1.1 request."""

    code, title = "framing", "Not a clear HTTP request"


class TokenRefused(RequestRefused):
    """The service needs a token, and none of those it accepts came."""

    code, title = "token", "Token needed"

    def __init__(self, sent: bool) -> None:
        super().__init__(
            "the token is not accepted" if sent else "this service needs a token",
            hint="curl -H 'Authorization: Bearer TOKEN', or the header X-Api-Key",
        )


class SwitchedOff(RequestRefused):
    """The project has switched this off; the hint names the setting."""

    code, title = "switched-off", "Switched off"


class PathUnknown(RequestRefused):
    """There is nothing at this path."""

    code, title = "path-unknown", "No such path"


class MethodWrong(RequestRefused):
    """The path is there, and does not take this method; Allow names those that it takes."""

    code, title = "method", "Method not allowed"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...], hint: str = "") -> None:
        self.allowed = allowed
        super().__init__(f"{path} does not take {method}, only {' and '.join(allowed)}", hint=hint)


class TooSlow(RequestRefused):
    """The request did not arrive in time."""

    code, title = "too-slow", "Request too slow"


class TooLarge(RequestRefused):
    """The body is over the limit."""

    code, title = "too-large", "Body too large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is over {limit:,} bytes", hint="send fewer rows a request")


class UrlTooLong(RequestRefused):
    """The address is longer than a request line may be."""

    code, title = "url-too-long", "URL too long"


class MediaWrong(RequestRefused):
    """The body's content type or encoding is none that is read here; the hint is a line that works."""

    code, title = "media-type", "Content type not supported"


class HostUnknown(RequestRefused):
    """The Host header names a host that this service does not answer to."""

    code, title = "host", "Host not served here"

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"this service listens on this machine only and does not answer for host {host!r}",
            hint='call it as 127.0.0.1 or localhost, or set [serve] allowed_hosts = ["NAME"]',
        )


class FieldAtFault(Protocol):
    """What is read of a contract.wire.FieldProblem here: this room imports no other."""

    @property
    def row(self) -> int: ...

    @property
    def field(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def hint(self) -> str: ...


class FieldsRefused(RequestRefused):
    """Rows that do not fit the model's columns; `problems` names each row, field and what to do.

    record: the first row at fault as it was sent, where there is one; a corrected request can be made from it.
    rows: the places of all rows that were asked, where known; table: whether they all have the same columns.
    """

    code, title = "fields", "Fields refused"

    def __init__(
        self, problems: tuple[FieldAtFault, ...], record: Any = None, rows: range = range(0), table: bool = False
    ) -> None:
        self.problems, self.record, self.rows, self.table = problems, record, rows, table
        first = problems[0]
        rest = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        where = f"row {first.row}: " if first.row else ""
        name = f"{first.field} " if first.field else ""
        super().__init__(f"{where}{name}{first.reason}{rest}", hint=first.hint)


class PictureRefused(RequestRefused):
    """A picture that no prediction can be made of; `row` and `field` say which, once the request is known."""

    code, title = "picture", "Picture refused"

    def __init__(self, reason: str, hint: str) -> None:
        self.row, self.field, self.reason = 0, "", reason
        super().__init__(f"the picture {reason}", hint=hint)

    def __str__(self) -> str:
        return f"row {self.row}: {self.args[0]}" if self.row else str(self.args[0])


class PictureUnreadable(PictureRefused):
    """The bytes are no picture, or a damaged one."""

    code, title = "picture-unreadable", "Picture unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "send the file as it is: curl -F image=@FILE")


class PictureFormatWrong(PictureRefused):
    """A picture in a format that is not taken."""

    code, title = "picture-format", "Picture format not supported"

    def __init__(self, found: str, allowed: tuple[str, ...]) -> None:
        self.found, self.allowed = found, allowed
        wanted = " or ".join(allowed)
        reason = f"is {found}, not {wanted}" if found else f"begins like no {wanted} file"
        super().__init__(reason, f"save it as {allowed[0]}, and send the file")


class PictureTooLarge(PictureRefused):
    """A picture of more points than the service decodes; it was not decoded."""

    code, title = "picture-too-large", "Picture too large"

    def __init__(self, width: int, height: int, limit: int) -> None:
        self.width, self.height, self.limit = width, height, limit
        reason = f"has {width} x {height} points, and {limit:,} are the most that are taken"
        super().__init__(reason, "send it smaller: the model sees far fewer points")


class HeadersTooLarge(RequestRefused):
    """The headers are larger than the service reads."""

    code, title = "headers-too-large", "Header section too large"


class Overloaded(RequestRefused):
    """More waits than can be answered in time; come back after `retry_after` seconds."""

    code, title = "overloaded", "Too busy"

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(reason, hint=f"try again in {retry_after} s")


class DeadlinePassed(RequestRefused):
    """No answer in the time that a request may take."""

    code, title = "deadline", "No answer in time"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer took longer than {seconds:g} s", hint="send fewer rows, or raise request_seconds")
