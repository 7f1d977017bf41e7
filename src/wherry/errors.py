"""Every error wherry raises. Facts are attributes, the sentence is composed in the class, `hint` is what to type next.

    WherryError
      UsageRefused            what was asked cannot be done as it was asked: flags, settings, files that are not there
        SettingsRefused  FileMissing  ExtraMissing  NoImageName  NotVouched  StoreRefused
      DataUnreadable          a table or a target that cannot be used: EncodingWrong, TableEmpty, TargetMissing
      ModelUnreadable         a model file: ModelUnknown, ModelUnsafe, VersionDrift, NotStorable
      BundleUnreadable        a bundle: BundleMissing, BundleDamaged, FormatUnknown, BundleUnfit, GoldenDiffers
      RequestRefused          a request to the service, by cause; server.problems knows the HTTP status of each
        BodyUnreadable  FramingWrong  TokenRefused  SwitchedOff  PathUnknown  MethodWrong  TooSlow  TooLarge
        UrlTooLong  MediaWrong  HostUnknown  FieldsRefused  HeadersTooLarge  Overloaded  DeadlinePassed
      ModelFailed             the model raised, or answered what cannot be sent
      ServiceFailed           the service cannot start or go on: PortTaken, AddressUnusable, StoreFailed
      CallFailed              a service that wherry called did not answer as it should: ServiceUnreachable, CallRefused
      BuildFailed             an image: NoBuilder, RegistryFailed
      ClusterFailed           NoCluster, NotPermitted, ContextUnclear, NamespaceMissing, Conflict, RolloutFailed
      LockHeld                somebody else is at it: SpoolHeld
      DiskFull

No HTTP status and no exit code here: server.problems and cli.main hold those tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from wherry.contract.wire import FieldProblem


class WherryError(Exception):
    """Something a user can mend. `str()` is the sentence, `hint` the next thing to type."""

    hint = ""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        if hint:
            self.hint = hint


class UsageRefused(WherryError):
    """What was asked cannot be done as it was asked."""


class SettingProblem(msgspec.Struct, frozen=True):
    """One setting that cannot be taken: its path, why, and what to do."""

    path: str
    reason: str
    hint: str = ""


class SettingsRefused(UsageRefused):
    """One or more settings cannot be taken; all of them are named."""

    def __init__(self, problems: tuple[SettingProblem, ...], source: str) -> None:
        self.problems = problems
        self.source = source
        lines = [f"{p.path} {p.reason}" + (f" ({p.hint})" if p.hint else "") for p in problems]
        super().__init__(f"{source}: " + "; ".join(lines), hint="`wherry config` prints every setting")


class SettingsUnreadable(UsageRefused):
    """The project's file is not TOML."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        super().__init__(f"{path}, line {line}: {reason}", hint=f"mend line {line} of {path}")


class NoImageName(UsageRefused):
    """An image was to be made or run, and nothing says what it is called."""

    def __init__(self, verb: str, name: str) -> None:
        self.verb = verb
        super().__init__(
            "the image has no name",
            hint=f'wherry {verb} --image REGISTRY/{name}, or image = "REGISTRY/{name}" under [deploy] in wherry.toml',
        )


class NotConfirmed(UsageRefused):
    """Nobody was there to say yes, or the answer was no."""

    def __init__(self, question: str, flag: str) -> None:
        self.question, self.flag = question, flag
        super().__init__(f"not done without a yes: {question}", hint=f"say it with {flag}")


class FileMissing(UsageRefused):
    def __init__(self, path: str, what: str = "file", hint: str = "") -> None:
        self.path = path
        super().__init__(f"no such {what}: {path}", hint=hint)


class ExtraMissing(UsageRefused):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(f"{purpose} needs {library}, which is not installed", hint=f"pip install 'wherry[{extra}]'")


class BundleUnreadable(WherryError):
    """A bundle's file is not what it should be."""

    def __init__(self, path: str, reason: str, hint: str = "pack the model again") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class BundleMissing(UsageRefused):
    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"no bundle in {path} (it has no manifest.json)", hint="wherry pack MODEL --data FILE --target COLUMN"
        )


class BundleDamaged(BundleUnreadable):
    """A file's content is not what was packed."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(path, f"its sha-256 is {found}, the manifest says {expected}")


class FormatUnknown(BundleUnreadable):
    def __init__(self, found: object, known: int) -> None:
        self.found, self.known = found, known
        hint = "upgrade wherry" if isinstance(found, int) and found > known else "pack the model again"
        super().__init__("manifest.json", f"has format {found!r}; this wherry reads format {known}", hint)


class CallFailed(WherryError):
    """A service that wherry called did not answer as it should."""


class ServiceUnreachable(CallFailed):
    def __init__(self, url: str, reason: str, hint: str = "") -> None:
        self.url, self.reason = url, reason
        super().__init__(f"{url} did not answer: {reason}", hint=hint)


class CallRefused(CallFailed):
    """The service answered, and the answer is an error. `problem` is its body, where that was JSON."""

    def __init__(self, url: str, status: int, sentence: str, hint: str = "", problem: object = None) -> None:
        self.url, self.status, self.problem = url, status, problem
        super().__init__(f"{status}: {sentence}", hint=hint)


class LockHeld(WherryError):
    """Somebody else is at it."""


class DiskFull(WherryError):
    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no space left on the disk that holds {path}", hint=f"df -h {path}")


class ServiceFailed(WherryError):
    """The service cannot start or go on."""


class StoreFailed(ServiceFailed):
    """A prediction cannot be kept, so it is not acknowledged."""

    def __init__(self, path: str, reason: str, hint: str = "") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"predictions cannot be kept in {path}: {reason}", hint=hint)


class SpoolHeld(LockHeld):
    """Another service keeps its predictions in the folder; `pid` is 0 when it cannot be told."""

    def __init__(self, folder: str, pid: int) -> None:
        self.folder, self.pid = folder, pid
        who = f"the service with process id {pid}" if pid else "another service"
        super().__init__(
            f"{who} keeps its predictions in {folder}",
            hint=f"stop it (kill {pid})" if pid else "stop it, or start this one in another folder",
        )


class StoreRefused(UsageRefused):
    """The store's database is one that this version cannot write to. Never shows the url: it may hold a password."""

    def __init__(self, scheme: str, source: str, supported: tuple[str, ...]) -> None:
        self.scheme, self.source, self.supported = scheme, source, supported
        names = " and ".join(supported)
        super().__init__(
            f"{source} names a {scheme or 'nameless'} database; this version stores predictions in {names}",
            hint=f"{supported[0]}:///predictions.db, or leave it out: {supported[0]} in .wherry/ is the default",
        )


class PortTaken(ServiceFailed):
    """Another process listens on the port; `holder` names it where it can be told."""

    def __init__(self, host: str, port: int, holder: str = "", setting: str = "--port") -> None:
        self.host, self.port, self.holder = host, port, holder
        who = f"by {holder}" if holder else "by another process"
        super().__init__(f"port {port} of {host} is taken {who}", hint=f"stop it, or choose another with {setting}")


class AddressUnusable(ServiceFailed):
    """The address cannot be listened on: it is not this machine's, or the port may not be opened by this user."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host, self.port, self.reason = host, port, reason
        super().__init__(f"cannot listen on {host} port {port}: {reason}", hint="choose others with --host and --port")


class ModelFailed(WherryError):
    """The model raised, or answered what cannot be sent; `rows` are those concerned, as far as that can be told."""

    def __init__(self, reason: str, rows: tuple[int, ...] = ()) -> None:
        self.reason, self.rows = reason, rows
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
    code, title = "path-unknown", "No such path"


class MethodWrong(RequestRefused):
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
    code, title = "url-too-long", "URL too long"


class MediaWrong(RequestRefused):
    """The body's content type or encoding is none that is read here; the hint is a line that works."""

    code, title = "media-type", "Content type not supported"


class HostUnknown(RequestRefused):
    code, title = "host", "Host not served here"

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"this service listens on this machine only and does not answer for host {host!r}",
            hint='call it as 127.0.0.1 or localhost, or set [serve] allowed_hosts = ["NAME"]',
        )


class FieldsRefused(RequestRefused):
    """Rows that do not fit the model's columns; `problems` names each row, field and what to do."""

    code, title = "fields", "Fields refused"

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        self.problems = problems
        first = problems[0]
        rest = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        where = f"row {first.row}: " if first.row else ""
        super().__init__(f"{where}{first.field} {first.reason}{rest}".replace(":  ", ": ").strip(), hint=first.hint)


class HeadersTooLarge(RequestRefused):
    code, title = "headers-too-large", "Header section too large"


class Overloaded(RequestRefused):
    """More waits than can be answered in time; come back after `retry_after` seconds."""

    code, title = "overloaded", "Too busy"

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(reason, hint=f"try again in {retry_after} s")


class DeadlinePassed(RequestRefused):
    code, title = "deadline", "No answer in time"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer took longer than {seconds:g} s", hint="send fewer rows, or raise request_seconds")
