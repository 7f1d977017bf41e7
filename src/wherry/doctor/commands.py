"""What somebody types: lines of scripts, blocks and inline code of Markdown, RUN lines, steps of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.doctor.documents import dig, items, line_of
from wherry.doctor.notebook import python_of

if TYPE_CHECKING:
    from wherry.doctor.project import Project

SHELLS = frozenset({"", "sh", "bash", "shell", "console", "zsh", "terminal"})
FENCE = re.compile(r"^\s*(```+|~~~+)\s*([\w+-]*)")
PROGRAMS = (
    "brew",
    "docker",
    "docker-compose",
    "gcloud",
    "kubectl",
    "minikube",
    "pip",
    "pip3",
    "pipenv",
    "curl",
    "eksctl",
)
SCRIPT = re.compile(r"^#!.*\b(ba|z|da)?sh\b")


class Command(msgspec.Struct, frozen=True):
    """One logical line, its continuations joined; line and last: the first and the last line of the file that hold it.
    place: script, markdown, inline, dockerfile, pipeline or notebook."""

    file: str
    line: int
    last: int
    text: str
    place: str


def commands_of(project: Project) -> Iterator[Command]:
    for text in project.texts:
        name = text.name.lower()
        if name.endswith((".sh", ".bash")) or name in ("makefile", "procfile") or SCRIPT.match(text.text):
            yield from logical(text.path, enumerate(text.lines, 1), "script")
        elif name.endswith((".md", ".markdown")):
            yield from of_markdown(text.path, text.lines)
        elif name.endswith(".ipynb") and (cells := python_of(text.text)):
            yield from (Command(text.path, line, line, said, "notebook") for line, said in cells.shell)
    for dockerfile in project.dockerfiles:
        for run in dockerfile.of("RUN"):
            yield Command(dockerfile.path, run.line, run.last, run.rest, "dockerfile")
    for document in project.documents:
        for step in steps_of(document.root):
            name = str(dig(step, "name") or dig(step, "entrypoint") or "")
            said = dig(step, "run") or " ".join(str(each) for each in items(dig(step, "args")))
            program = name.rpartition("/")[2].partition(":")[0]
            if said:
                line = line_of(said if dig(step, "run") else dig(step, "args"), line_of(step))
                yield Command(document.path, line, line, f"{program} {said}" if dig(step, "args") else said, "pipeline")


def steps_of(root: Any) -> list[Any]:
    """The steps of a cloudbuild.yaml, or of every job of a workflow of GitHub's."""
    jobs = dig(root, "jobs")
    held = [root, *(jobs.values() if isinstance(jobs, dict) else ())]
    return [step for each in held for step in items(dig(each, "steps"))]


def of_markdown(path: str, lines: list[str]) -> Iterator[Command]:
    """Blocks for a shell, and inline code that begins with a program that we know."""
    block: list[tuple[int, str]] | None = None
    fence, language = "", ""
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if block is None and match:
            fence, language, block = match[1], match[2].lower(), []
        elif block is not None and match and match[1].startswith(fence[:3]) and not match[2]:
            if language in SHELLS:
                yield from logical(path, iter(block), "markdown")
            block = None
        elif block is not None:
            block.append((number, line))
        else:
            for code in re.findall(r"`([^`]+)`", line):
                if code.split()[:1] and code.split()[0] in PROGRAMS and len(code.split()) > 1:
                    yield Command(path, number, number, code, "inline")
    if block and language in SHELLS:
        yield from logical(path, iter(block), "markdown")


def logical(path: str, lines: Iterator[tuple[int, str]] | enumerate[str], place: str) -> Iterator[Command]:
    """The lines, each joined with those that continue it; comments and empty lines are left out."""
    held: list[str] = []
    start = 0
    for number, line in lines:
        text = line.strip()
        if not held and (not text or text.startswith("#")):
            continue
        start = start if held else number
        held.append(text.removesuffix("\\").strip())
        if not text.endswith("\\"):
            said = re.sub(r"^[$>]\s+", "", " ".join(held))
            yield Command(path, start, number, said, place)
            held = []
    if held:
        yield Command(path, start, start + len(held) - 1, " ".join(held), place)
