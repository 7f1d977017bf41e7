"""A Dockerfile as its instructions, each with its line; continued lines and comments are taken as Docker takes them."""

from __future__ import annotations

import json
import re
import shlex
from functools import cached_property

import msgspec

INSTRUCTION = re.compile(r"^\s*([A-Za-z]+)\s+(.*)$")
HEREDOC = re.compile(r"<<-?[\"']?([A-Za-z_]\w*)[\"']?")


class Instruction(msgspec.Struct, frozen=True):
    """FROM, RUN, ...: the word in capitals, what follows it in one line, its first and its last line."""

    word: str
    rest: str
    line: int
    last: int

    @property
    def argv(self) -> list[str] | None:
        """The list of an exec form; None for a shell form."""
        try:
            value = json.loads(self.rest)
        except ValueError:
            return None
        return [str(each) for each in value] if isinstance(value, list) else None

    @property
    def words(self) -> list[str]:
        if self.argv is not None:
            return self.argv
        try:
            return shlex.split(self.rest)
        except ValueError:
            return self.rest.split()


class Dockerfile:
    """path: below the project; folder: where its build context is taken to be."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.folder = path.rpartition("/")[0]
        self.lines = text.splitlines()

    @cached_property
    def instructions(self) -> list[Instruction]:
        found: list[Instruction] = []
        held: list[str] = []
        start = 0
        number = 0
        while number < len(self.lines):
            line = self.lines[number]
            number += 1
            if line.lstrip().startswith("#") or (not line.strip() and not held):
                continue
            start = start if held else number
            held.append(line.rstrip().removesuffix("\\"))
            if line.rstrip().endswith("\\") and number < len(self.lines):
                continue
            text = " ".join(part.strip() for part in held)
            for marker in HEREDOC.findall(text):
                while number < len(self.lines):
                    number += 1
                    if self.lines[number - 1].strip() == marker:
                        break
                    text += f" ; {self.lines[number - 1].strip()}"
            held = []
            if match := INSTRUCTION.match(text):
                found.append(Instruction(match[1].upper(), match[2].strip(), start, number))
        return found

    def of(self, *words: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word in words]

    @property
    def start(self) -> Instruction | None:
        """What the container runs: the last CMD, else the last ENTRYPOINT."""
        found = self.of("CMD") or self.of("ENTRYPOINT")
        return found[-1] if found else None

    @property
    def image(self) -> str:
        """The image that the last stage is made from."""
        found = self.of("FROM")
        words = [word for word in found[-1].rest.split() if not word.startswith("--")] if found else []
        return words[0] if words else ""
