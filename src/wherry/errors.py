"""Every error wherry raises. Facts are attributes, the sentence is composed in the class, `hint` is what to type next.

    WherryError
      UsageRefused            what was asked cannot be done as it was asked: flags, settings, files that are not there
        SettingsRefused  FileMissing  ExtraMissing  NoImageName  NotVouched  StoreRefused
      DataUnreadable          a table or a target that cannot be used: EncodingWrong, TableEmpty, TargetMissing
      ModelUnreadable         a model file: ModelUnknown, ModelUnsafe, VersionDrift, NotStorable
      BundleUnreadable        a bundle: BundleMissing, BundleDamaged, FormatUnknown, BundleUnfit, GoldenDiffers
      RequestRefused          a request to the service, by cause; server.app knows the HTTP status of each
      ModelFailed             the model raised, or answered what cannot be sent
      ServiceFailed           the service cannot start or go on: PortTaken, StoreFailed
      CallFailed              a service that wherry called did not answer as it should: ServiceUnreachable, CallRefused
      BuildFailed             an image: NoBuilder, RegistryFailed
      ClusterFailed           NoCluster, NotPermitted, ContextUnclear, NamespaceMissing, Conflict, RolloutFailed
      LockHeld                somebody else is at it: SpoolHeld
      DiskFull

No HTTP status and no exit code here: server.app and cli.main hold those tables.
"""

from __future__ import annotations

import msgspec


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
