"""What was carried over, and what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Carried:
    """settings: by path, as `reply.record`; files: name to write -> path in the project; lost: each with its place.
    columns: the model's columns, where the project names them; models: files that hold one."""

    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    found: list[str] = field(default_factory=list)

    def set(self, path: str, value: Any) -> None:
        """The first that says something counts."""
        if value not in (None, ""):
            self.settings.setdefault(path, value)

    def put(self, path: str, key: str, value: Any) -> None:
        self.settings.setdefault(path, {}).setdefault(key, value)

    def lose(self, what: str) -> None:
        if what not in self.lost:
            self.lost.append(what)
