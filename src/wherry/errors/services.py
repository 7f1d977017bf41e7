"""A service that cannot start or go on."""

from __future__ import annotations

from wherry.errors.root import LockHeld, UsageRefused, WherryError


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


class WorkerFailed(ServiceFailed):
    """A worker process could not start, and none was ready yet; `reason` says why."""

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        super().__init__(reason, hint=hint or "try it with one worker: --workers 1")
