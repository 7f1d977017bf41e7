"""Settings and names that cannot be taken."""

from __future__ import annotations

import msgspec

from wherry.errors.root import UsageRefused


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


class ImageNameRefused(UsageRefused):
    """A text that is no name of an image."""

    def __init__(self, text: str, reason: str, better: str) -> None:
        self.text = text
        super().__init__(f"{text!r} {reason}", hint=f"--image {better}")
