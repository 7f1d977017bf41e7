"""Compose files that cannot be written or read."""

from __future__ import annotations

from wherry.errors.root import UsageRefused


class FileTaken(UsageRefused):
    """A file would have to be replaced that wherry did not write."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is not replaced: wherry did not write it", hint="name another file with --to")


class ComposeUnreadable(UsageRefused):
    """A compose file that names no service, or none that can be read."""

    def __init__(self, path: str, reason: str, line: int = 0) -> None:
        self.path, self.reason, self.line = path, reason, line
        where = f"{path}, line {line}" if line else path
        super().__init__(f"{where}: {reason}", hint=f"mend {path}: it needs `services:` with an image each")
